package bus

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"checkbus/checks"
)

func TestTheNewestRefusalsAreRead(t *testing.T) {
	dir := t.TempDir()
	j, err := OpenRefusals(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	filler := []byte(strings.Repeat("x", maxShown))
	const all = maxRefusals/maxShown*2 + 10 // enough for several files
	for i := range all {
		if err := j.Add(newRefusal("c", strconv.Itoa(i), filler, checks.ErrInvalid)); err != nil {
			t.Fatal(err)
		}
	}
	// A crash in the midst of a line.
	f, err := os.OpenFile(filepath.Join(dir, "rejected.ndjson"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(`{"time":"2026`); err != nil {
		t.Fatal(err)
	}
	f.Close()

	for _, n := range []int{1, 20, 500} {
		var topics []string
		if err := ReadRefusals(dir, n, func(r Refusal) error { topics = append(topics, r.Topic); return nil }); err != nil {
			t.Fatal(err)
		}
		if len(topics) != n || topics[n-1] != strconv.Itoa(all-1) || topics[0] != strconv.Itoa(all-n) {
			t.Errorf("newest %d are %d, %s to %s", n, len(topics), topics[0], topics[len(topics)-1])
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 {
		t.Errorf("files %v, %v", entries, err)
	}
}

func TestNoJournalIsNoRefusals(t *testing.T) {
	if err := ReadRefusals(t.TempDir(), 5, func(Refusal) error { return errors.New("shown") }); err != nil {
		t.Error(err)
	}
}

// Who hears of a refusal and asks for the newest finds it there.
func TestARefusalIsKeptBeforeItIsTold(t *testing.T) {
	dir := t.TempDir()
	j, err := OpenRefusals(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	found := 0
	b := &Bus{Options: Options{Log: slog.New(slog.DiscardHandler), Refusals: j, Publish: func(string, []byte, bool) error {
		return ReadRefusals(dir, 1, func(Refusal) error { found++; return nil })
	}}}
	b.announce(newRefusal("c", "nagios/web1", nil, checks.ErrInvalid))
	if found != 1 {
		t.Errorf("%d refusals were kept when it was told", found)
	}
}

func TestALongPayloadIsCutAndMarked(t *testing.T) {
	r := newRefusal("c", "t", []byte(strings.Repeat("ä", maxShown)), checks.ErrInvalid)
	if len(r.Payload) > maxShown+10 || !strings.HasSuffix(r.Payload, " [cut]") {
		t.Errorf("payload of %d bytes ends %q", len(r.Payload), r.Payload[len(r.Payload)-10:])
	}
}
