package credentials

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestThePasswordIsTheFirstLine(t *testing.T) {
	tests := map[string]struct{ text, want string }{
		"one line":                {"secret\n", "secret"},
		"without an end":          {"secret", "secret"},
		"an end of Windows":       {"secret\r\n", "secret"},
		"spaces are a part of it": {" se cret \n", " se cret "},
		"more lines":              {"secret\nanother\n", "secret"},
		"empty":                   {"", ""},
		"an empty line":           {"\nsecret\n", ""},
		"very long":               {strings.Repeat("x", 1<<20), strings.Repeat("x", 64<<10)},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "secret")
			if err := os.WriteFile(file, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if got, err := Password(file); got != tt.want || err != nil {
				t.Errorf("Password of %.20q = %.20q, %v, want %.20q", tt.text, got, err, tt.want)
			}
		})
	}
}

func TestAFileThatIsNotSoundIsNamed(t *testing.T) {
	dir := t.TempDir()
	text, missing := filepath.Join(dir, "secret"), filepath.Join(dir, "missing")
	if err := os.WriteFile(text, []byte("hunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{text, missing, dir} {
		_, err := Authorities(file)
		if err == nil || !strings.Contains(err.Error(), file) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("Authorities(%s): %v", file, err)
		}
	}
	for _, file := range []string{missing, dir} {
		if _, err := Password(file); err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("Password(%s): %v", file, err)
		}
	}
}
