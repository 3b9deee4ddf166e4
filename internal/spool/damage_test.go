package spool

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble"

	"checkbus/checks"
)

// A damaged spool is an error that names the directory and what to do, when it
// is opened or at the latest when it is read. It is never begun anew.
func TestDamageIsReported(t *testing.T) {
	src := t.TempDir()
	q := open(t, src, oneReader)
	mustAppend(t, q, results(0, 20_000)) // enough for tables
	if err := q.store.Flush(); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		mustAppend(t, q, results(20_000+i*100, 100))
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	const n = 22_000

	tests := map[string]func(t *testing.T, dir string){
		"flipped bytes in a table": func(t *testing.T, dir string) { flip(t, newest(t, dir, "*.sst"), 0.5) },
		"flipped bytes in the log": func(t *testing.T, dir string) { flip(t, newest(t, dir, "*.log"), 0.0001) },
		"flipped bytes in the MANIFEST": func(t *testing.T, dir string) {
			flip(t, newest(t, dir, "MANIFEST-*"), 0.3)
		},
		"table missing":    func(t *testing.T, dir string) { remove(t, newest(t, dir, "*.sst")) },
		"table cut":        func(t *testing.T, dir string) { truncate(t, newest(t, dir, "*.sst")) },
		"MANIFEST missing": func(t *testing.T, dir string) { remove(t, newest(t, dir, "MANIFEST-*")) },
		"MANIFEST cut":     func(t *testing.T, dir string) { truncate(t, newest(t, dir, "MANIFEST-*")) },
		"marker missing":   func(t *testing.T, dir string) { remove(t, newest(t, dir, "marker.manifest*")) },
		"all but the lock missing": func(t *testing.T, dir string) {
			if err := os.RemoveAll(filepath.Join(dir, "db")); err != nil {
				t.Fatal(err)
			}
			if err := os.Mkdir(filepath.Join(dir, "db"), 0o700); err != nil {
				t.Fatal(err)
			}
		},
	}
	for name, damage := range tests {
		t.Run(name, func(t *testing.T) {
			dir := copyTree(t, src)
			damage(t, dir)
			err := openAndRead(t, dir, n)
			if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), dir) {
				t.Fatalf("error is %v, want ErrDamaged naming %s", err, dir)
			}
			t.Log(err)
		})
	}
}

// openAndRead opens a spool and reads n results of it, until the first error.
func openAndRead(t *testing.T, dir string, n int) error {
	q, err := Open(dir, Options{Cursors: []string{"nagios"}, Log: discard})
	if err != nil {
		return err
	}
	defer q.Close()
	if q.durable.seq != uint64(n) {
		t.Fatalf("Open forgot results after %d without a word", q.durable.seq)
	}
	c := cursor(t, q, "nagios")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	buf := make([]checks.Result, 1000)
	for got := 0; got < n; {
		m, err := c.Read(ctx, buf)
		if ctx.Err() != nil {
			t.Fatalf("Read waits, and the spool says %v", q.Stats().Err)
		}
		if err != nil {
			return err
		}
		got += m
	}
	return nil
}

// flip changes some bytes of a file, part of its length after the beginning.
func flip(t *testing.T, path string, part float64) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at := int(part * float64(len(data)))
	for i := at; i < min(at+20, len(data)); i++ {
		data[i] ^= 0x55
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

func truncate(t *testing.T, path string) {
	t.Helper()
	info, err := os.Stat(path)
	if err == nil {
		err = os.Truncate(path, info.Size()/2)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestOtherPeoplesDirectoriesAreLeftAlone(t *testing.T) {
	tests := map[string]struct {
		prepare func(t *testing.T, dir string)
		want    string
	}{
		"someone's files": {func(t *testing.T, dir string) {
			if err := os.WriteFile(filepath.Join(dir, "photo.jpg"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}, "photo.jpg"},
		"another Pebble": {func(t *testing.T, dir string) {
			db, err := pebble.Open(filepath.Join(dir, "db"), &pebble.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
		}, "no spool of checkbus"},
		"another format": {func(t *testing.T, dir string) {
			q := open(t, dir, oneReader)
			if err := q.store.Set([]byte("f"), []byte{format + 1}, pebble.Sync); err != nil {
				t.Fatal(err)
			}
			if err := q.Close(); err != nil {
				t.Fatal(err)
			}
		}, "format 02"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			tt.prepare(t, dir)
			_, err := Open(dir, Options{Log: discard})
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), dir) {
				t.Errorf("Open = %v, want an error with %q naming %s", err, tt.want, dir)
			}
		})
	}
}

// What a crash left of the making of a spool does not stand in the way.
func TestInterruptedCreationIsRepeated(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "db.new", "half"), 0o700); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, open(t, dir, oneReader), results(0, 1))
}

// A record that does not decode is an error that names it, whichever bytes it
// consists of.
func TestRecordsThatAreNoneAreNamed(t *testing.T) {
	q := open(t, t.TempDir(), oneReader)
	mustAppend(t, q, results(0, 3))
	for _, value := range []string{"", "short", "12345678\xff"} {
		if err := q.store.Set(recordKey(2), []byte(value), pebble.Sync); err != nil {
			t.Fatal(err)
		}
		c := Cursor{queue: q, name: "test"}
		buf := make([]checks.Result, 3)
		if _, err := c.Read(t.Context(), buf); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "record 2") {
			t.Errorf("Read = %v, want ErrDamaged naming record 2", err)
		}
	}
}
