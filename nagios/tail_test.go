package nagios

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// A logFile is a log that a test writes.
type logFile struct {
	t    testing.TB
	path string
	tail *tail
	got  []string
}

func newLogFile(t testing.TB) *logFile {
	l := &logFile{t: t, path: filepath.Join(t.TempDir(), "nagios.log")}
	l.tail = newTail(l.path, func(line []byte, _ time.Time) { l.got = append(l.got, string(line)) })
	t.Cleanup(func() { l.tail.close() })
	return l
}

func (l *logFile) write(text string) {
	l.t.Helper()
	f, err := os.OpenFile(l.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	if err != nil {
		l.t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		l.t.Fatal(err)
	}
}

// want drains the log and compares what came since the last call.
func (l *logFile) want(lines ...string) {
	l.t.Helper()
	if err := l.tail.drain(); err != nil {
		l.t.Fatal(err)
	}
	if !slices.Equal(l.got, lines) {
		l.t.Fatalf("delivered %.200q\nwant      %.200q", l.got, lines)
	}
	l.got = nil
}

func TestTailDeliversEveryLineOnce(t *testing.T) {
	l := newLogFile(t)
	if err := l.tail.begin(0); err != nil {
		t.Fatal(err)
	}
	if err := l.tail.drain(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without a log: %v", err)
	}
	l.write("one\ntwo\nthr")
	l.want("one", "two")
	l.write("ee")
	l.want()
	l.write("\n\nfour\n")
	l.want("three", "", "four")
	l.want()
}

func TestTailCutsLongLines(t *testing.T) {
	l := newLogFile(t)
	long := strings.Repeat("x", maxLogLine)
	l.write("before\n" + long + "yyy" + long + "\nafter\n" + long[1:] + "\nend\n")
	l.want("before", long, "after", long[1:], "end")
	l.write(long + "zzz")
	l.want(long)
	l.write("zzz\nlast\n")
	l.want("last")
	if cap(l.tail.buf) != maxLogLine {
		t.Errorf("the buffer has grown to %d", cap(l.tail.buf))
	}
}

func TestTailFollowsRotations(t *testing.T) {
	l := newLogFile(t)
	old := l.path + ".1"
	writeOld := func(text string) {
		t.Helper()
		path := l.path
		l.path = old
		l.write(text)
		l.path = path
	}
	l.write("1\n")
	l.want("1")
	l.write("2\n")
	rename(t, l.path, old)
	writeOld("3\n")
	l.want("2", "3")
	l.write("") // made anew, and the core still writes the old one
	writeOld("4\n")
	l.want("4")
	writeOld("5\n")
	l.write("6\n")
	l.want("5", "6")

	if err := os.Truncate(l.path, 0); err != nil {
		t.Fatal(err)
	}
	l.want()
	l.write("7\n8\n")
	l.want("7", "8")
	if err := os.Truncate(l.path, 0); err != nil {
		t.Fatal(err)
	}
	l.write("9\n")
	l.want("9")
	if err := os.Remove(l.path); err != nil {
		t.Fatal(err)
	}
	l.want()
	l.write("10\n")
	l.want("10")
}

// It begins at a line, whatever stands in the output before.
func TestTailBeginsAtATime(t *testing.T) {
	lines := make([]string, 3000)
	for i := range lines {
		lines[i] = fmt.Sprintf("[%d] line %d %s", 1795300000+i/3, i, strings.Repeat("[1795309999] ", i%40))
	}
	lines[700] += strings.Repeat("y", maxLogLine)
	lines[2000] = "not the core's"
	l := newLogFile(t)
	l.write(strings.Join(lines, "\n") + "\n")
	for i, line := range lines {
		lines[i] = line[:min(len(line), maxLogLine)]
	}
	for from := range 1000 {
		if err := l.tail.begin(int64(1795300000 + from)); err != nil {
			t.Fatal(err)
		}
		l.want(lines[from*3:]...)
	}
	if err := l.tail.begin(1795309999); err != nil {
		t.Fatal(err)
	}
	l.want()
	l.write("[1795309998] early\n[1795309999] late\n")
	l.want("[1795309999] late")
}
