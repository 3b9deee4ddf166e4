package broker

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"checkbus/internal/mqtttest"
	"checkbus/internal/realtest"
)

// Hashes of mosquitto_passwd 2.0.11, and one of argon2id with the parameters of
// Mosquitto 2.1 and one with others, made by the reference implementation.
const (
	sha512Hash = "$6$/4N4M/r2576Lam6p$jav1S01/wYqdZVtx4jEPZWY8VgDtVvSRBHLbe/ZdQFQ6CIVzNd5kQKeI/6cXPGmoD2i/3o86IccHPlTcYVK1ZQ=="             // passc
	pbkdf2Hash = "$7$101$eKR38IUlUzKNWBBO$Mu1nisc5VQYFeYmpazxO6re4mhic5J/yUhPG0StoA9PihVP2gCB8olP40vMfmw9f4S/YDbe2rxsPMXy6sW77Og=="         // passa
	argonHash  = "$argon2id$v=19$m=47104,t=1,p=1$AwoRGB8mLTQ7QklQV15lbHN6gYiPlp2kq7K5wMfO1dzj6vH4/wYNFBsiKTA3PkVMU1phaG92fYSLkpmgp661vA$" + // correct horse
		"q2Eyb3YqIhxRF8vbAsy2pnIUEVznQ/hB9K41G7Ng69TPnA8NqN0XAwNtQmZpFbPogdMUF2fV1KStWOolEHcOhA"
	smallArgonHash = "$argon2id$v=19$m=64,t=2,p=2$AwoRGB8mLTQ7QklQV15lbA$i4c3xAoFpwkZKLQ2DZ15qHQw03Rcad5lDNqoDH5DBHw" // web1
)

func TestPasswordsOfEveryFormAreChecked(t *testing.T) {
	p, err := parsePasswords("passwd", []byte("# users\n\nc:"+sha512Hash+"\n a b \t:"+pbkdf2Hash+" \r\nbig:"+argonHash+":ignored\nsmall:"+smallArgonHash))
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		user, password string
		want           bool
	}{
		"sha512":              {"c", "passc", true},
		"pbkdf2":              {"a b", "passa", true},
		"argon2id":            {"big", "correct horse", true},
		"argon2id, two lanes": {"small", "web1", true},
		"wrong":               {"c", "passd", false},
		"too long":            {"c", "passcc", false},
		"empty":               {"c", "", false},
		"another's":           {"c", "passa", false},
		"wrong argon2id":      {"big", "wrong", false},
		"no such user":        {"d", "passc", false},
		"no user":             {"", "passc", false},
		"other case":          {"C", "passc", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := p.Check(tt.user, tt.password); got != tt.want {
				t.Errorf("Check(%q, %q) = %t", tt.user, tt.password, got)
			}
		})
	}
}

// A name that is not in the file must not get in with the password of the entry
// that is checked in its place.
func TestUnknownUsersNeverGetIn(t *testing.T) {
	p, err := parsePasswords("passwd", []byte("c:"+sha512Hash))
	if err != nil {
		t.Fatal(err)
	}
	empty, err := parsePasswords("passwd", nil)
	if err != nil {
		t.Fatal(err)
	}
	if p.Check("nobody", "passc") || empty.Check("nobody", "") || empty.Check("", "") {
		t.Error("an unknown user got in")
	}
}

func TestUnknownUsersTakeAsLongAsKnownOnes(t *testing.T) {
	p, err := parsePasswords("passwd", []byte("bob:"+newPasswordHash("secret").String()))
	if err != nil {
		t.Fatal(err)
	}
	least := map[string]time.Duration{"bob": time.Hour, "eve": time.Hour}
	for range 5 {
		for user := range least {
			start := time.Now()
			p.Check(user, "wrong")
			least[user] = min(least[user], time.Since(start))
		}
	}
	if least["eve"] < least["bob"]/4 {
		t.Errorf("an unknown user takes %v, a known one %v", least["eve"], least["bob"])
	}
}

// badHashes are what may stand after a colon instead of a hash.
var badHashes = map[string]struct{ hash, want string }{
	"nothing":             {"", errNoHash.Error()},
	"plain password":      {"se:cret", errNoHash.Error()},
	"plain with a dollar": {"$ecret", errNoHash.Error()},
	"crypt":               {"$5$salt$hash", errNoHash.Error()},
	"sha512 without sum":  {"$6$/4N4M/r2576Lam6p", errHashParts.Error()},
	"short salt":          {"$6$/4N4$" + sha512Hash[20:], errHashText.Error()},
	"short sum":           {sha512Hash[:len(sha512Hash)-4], errHashText.Error()},
	"not base64":          {"$6$/4N4M/r2576Lam6p$" + strings.Repeat("!", 88), errHashText.Error()},
	"no iterations":       {strings.Replace(pbkdf2Hash, "101", "0", 1), "takes 1 to 1000000 iterations"},
	"negative iterations": {strings.Replace(pbkdf2Hash, "101", "-1", 1), "takes 1 to 1000000 iterations"},
	"iterations missing":  {strings.Replace(pbkdf2Hash, "101$", "", 1), errHashParts.Error()},
}

// costlyHashes would take too much memory or time, or are refused by us alone.
var costlyHashes = map[string]struct{ hash, want string }{
	"sha512 with too much": {sha512Hash + "$x", errHashParts.Error()},
	"many iterations":      {strings.Replace(pbkdf2Hash, "101", "1000001", 1), "takes 1 to 1000000 iterations"},
	"old version":          {strings.Replace(argonHash, "v=19", "v=16", 1), "not of argon2 version 19"},
	"much memory":          {strings.Replace(argonHash, "m=47104", "m=131073", 1), "takes m=8 to 131072 KiB"},
	"little memory":        {strings.Replace(smallArgonHash, "m=64", "m=15", 1), "takes m=8 to 131072 KiB"},
	"no memory":            {strings.Replace(argonHash, "m=47104", "m=0", 1), "takes m=8 to 131072 KiB"},
	"many passes":          {strings.Replace(argonHash, "t=1", "t=17", 1), "takes m=8 to 131072 KiB"},
	"many lanes":           {strings.Replace(argonHash, "p=1", "p=17", 1), "takes m=8 to 131072 KiB"},
	"another order":        {strings.Replace(argonHash, "m=47104,t=1", "t=1,m=47104", 1), "takes m=8 to 131072 KiB"},
	"another argon2":       {strings.Replace(argonHash, "argon2id", "argon2i", 1), errNoHash.Error()},
	"argon2id padding":     {smallArgonHash + "=", errHashText.Error()},
}

func TestPasswordErrorsNameFileAndLine(t *testing.T) {
	for _, table := range []map[string]struct{ hash, want string }{badHashes, costlyHashes} {
		for name, tt := range table {
			t.Run(name, func(t *testing.T) {
				p, err := parsePasswords("passwd", []byte("# x\nbob:"+tt.hash+"\n"))
				if err == nil || p != nil {
					t.Fatal("no error")
				}
				if !strings.HasPrefix(err.Error(), `passwd:2: user "bob": `) || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("got %v, want %s", err, tt.want)
				}
				if tt.hash != "" && strings.Contains(err.Error(), tt.hash) {
					t.Errorf("%v gives the password away", err)
				}
			})
		}
	}
	_, err := parsePasswords("passwd", []byte("bob:secret\n\nplain\n :"+sha512Hash+"\n"))
	want := "passwd:1: user \"bob\": " + errNoHash.Error() +
		"\npasswd:3: there is no colon after the user name\npasswd:4: there is no user name before the colon"
	if err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
	if _, err := ReadPasswords(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
}

func TestFewPasswordsAreCheckedAtOnce(t *testing.T) {
	for processors, want := range map[int]int{1: 1, 2: 1, 3: 1, 4: 2, 8: 4, 64: 4} {
		if got := hashers(processors); got != want {
			t.Errorf("%d on %d processors, want %d", got, processors, want)
		}
	}
}

func TestFilesOfMosquittoPasswdAreRead(t *testing.T) {
	program := realtest.Need(t, "mosquitto_passwd")
	run := func(args ...string) {
		t.Helper()
		if out, err := exec.Command(program, args...).CombinedOutput(); err != nil {
			t.Fatalf("mosquitto_passwd %v: %v: %s", args, err, out)
		}
	}
	dir := t.TempDir()
	made, plain := filepath.Join(dir, "made"), filepath.Join(dir, "plain")
	run("-c", "-b", made, "bob", "old")
	run("-H", "sha512", "-b", made, "eve", "Grüße $: x")
	run("-H", "sha512-pbkdf2", "-b", made, "a b", "secret2")
	run("-b", made, "bob", "secret1")
	run("-b", made, "gone", "x")
	run("-D", made, "gone")
	if err := os.WriteFile(plain, []byte("bob:secret1\neve:Grüße $\na b:secret2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	run("-U", plain)
	for path, evesPassword := range map[string]string{made: "Grüße $: x", plain: "Grüße $"} {
		p, err := ReadPasswords(path)
		if err != nil {
			t.Fatal(err)
		}
		for user, password := range map[string]string{"bob": "secret1", "eve": evesPassword, "a b": "secret2"} {
			if !p.Check(user, password) || p.Check(user, password+" ") {
				t.Errorf("%s: the password of %q is misjudged", path, user)
			}
		}
		if p.Check("gone", "x") || p.Check("bob", "old") {
			t.Errorf("%s: an old password is taken", path)
		}
	}
}

// Odd lines, put to Mosquitto as well. Where we refuse the file, it passes over
// the line, and refuses the user.
func TestPasswordLinesAreReadAsMosquittoReadsThem(t *testing.T) {
	other := newPasswordHash("other").String()
	text := strings.Join([]string{
		"", " \t ", "# a comment: with a colon",
		" spaces \t: " + sha512Hash + " \r",
		"third:" + sha512Hash + ":field",
		"#out:" + sha512Hash,
		" #in:" + sha512Hash,
		"twice:" + sha512Hash, "twice:" + other,
		"two words:" + other,
		"last:" + sha512Hash,
	}, "\n")
	tests := []struct {
		user, password string
		want           bool
	}{
		{"spaces", "passc", true},
		{" spaces", "passc", false},
		{"third", "passc", true},
		{"#out", "passc", false},
		{"out", "passc", false},
		{"#in", "passc", true},
		{"twice", "passc", false},
		{"twice", "other", true},
		{"two words", "other", true},
		{"two", "other", false},
		{"last", "passc", true},
		{"none", "passc", false},
	}
	path := filepath.Join(t.TempDir(), "passwd")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := ReadPasswords(path)
	if err != nil {
		t.Fatal(err)
	}
	ask := askPasswords(t, path)
	for _, tt := range tests {
		if ours, mosquitto := p.Check(tt.user, tt.password), ask(tt.user, tt.password); ours != tt.want || mosquitto != tt.want {
			t.Errorf("%q with %q: Mosquitto says %t, we say %t, want %t", tt.user, tt.password, mosquitto, ours, tt.want)
		}
	}
}

func TestMosquittoRefusesUsersOfLinesThatWeRefuse(t *testing.T) {
	var text strings.Builder
	for name, tt := range badHashes {
		fmt.Fprintf(&text, "%s:%s\n", name, tt.hash)
	}
	path := filepath.Join(t.TempDir(), "passwd")
	if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	ask := askPasswords(t, path)
	for name := range badHashes {
		for _, password := range []string{"passa", "passc", "se", ""} {
			if ask(name, password) {
				t.Errorf("Mosquitto lets in who has this for a hash: %s", name)
			}
		}
	}
}

// askPasswords runs Mosquitto with the password file at path. The function it
// returns tries to log in.
func askPasswords(t *testing.T, path string) func(user, password string) bool {
	t.Helper()
	addr := realtest.StartMosquitto(t, "password_file "+path).Addr
	return func(user, password string) bool {
		c := mqtttest.Connect(t, addr, mqtttest.Options{User: user, Password: &password, V5: true})
		return c.Connack.Type() == mqtttest.CONNACK && c.Connack.Code() == 0
	}
}

func FuzzParsePasswords(f *testing.F) {
	for _, table := range []map[string]struct{ hash, want string }{badHashes, costlyHashes} {
		for _, tt := range table {
			f.Add([]byte("bob:" + tt.hash + "\n"))
		}
	}
	f.Add([]byte("# x\n\nbob:" + sha512Hash + "\na b :" + pbkdf2Hash + ":\r\nc:" + argonHash + "\nd:" + smallArgonHash))
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := parsePasswords("passwd", text)
		if (p == nil) == (err == nil) {
			t.Fatalf("got %v and %v", p, err)
		}
		if err != nil {
			return
		}
		for user, h := range p.users {
			if user == "" || !h.sound() || h.iterations > maxIterations || h.argon.memory > maxArgonMemory {
				t.Errorf("user %q: %+v", user, h)
			}
		}
	})
}
