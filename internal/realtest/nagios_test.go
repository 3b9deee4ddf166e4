package realtest

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"checkbus/checks"
)

func TestLinesAreWhole(t *testing.T) {
	file := filepath.Join(t.TempDir(), "log")
	for text, want := range map[string][]string{"": nil, "one": nil, "one\n": {"one"}, "one\n\ntw": {"one", ""}, "one\n\ntwo\n": {"one", "", "two"}} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := Lines(t, file); !slices.Equal(got, want) {
			t.Errorf("the lines of %q are %q, want %q", text, got, want)
		}
	}
	if got := Lines(t, file+".1"); len(got) > 0 {
		t.Errorf("the lines of no file are %q", got)
	}
}

func TestNagiosTakesResultsAndComesBack(t *testing.T) {
	n := StartNagios(t, NagiosOptions{Hosts: 2, Services: 2, Objects: []checks.Object{{Host: "web1", Service: "Disk /var"}}})
	n.Verify()
	disk := checks.Object{Host: "web1", Service: "Disk /var"}
	send := func(text string) {
		t.Helper()
		f, err := os.OpenFile(n.CommandFile, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := fmt.Fprintf(f, "[%d] PROCESS_SERVICE_CHECK_RESULT;web1;Disk /var;2;%s|a=1\n", time.Now().Unix(), text); err != nil {
			t.Fatal(err)
		}
	}
	arrived := func(text string) {
		t.Helper()
		n.WaitStatus("show "+text, func(m map[checks.Object]NagiosStatus) bool {
			s := m[disk]
			return s.State == 2 && s.Output == text && s.Perfdata == "a=1" && s.LastCheck > 0
		})
	}
	if got := n.WaitStatus("list all", func(m map[checks.Object]NagiosStatus) bool { return len(m) == 8 })[disk].State; got != -1 {
		t.Errorf("state before any check = %d, want -1", got)
	}
	send("one")
	arrived("one")
	n.Reload()
	send("two")
	arrived("two")
	n.Stop()
	n.Start()
	send("three")
	arrived("three")
	n.Kill()
	n.Start()
	send("four")
	arrived("four")
}
