package bus

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"checkbus/checks"
)

// A Refusal is a message, or one item of it, that goes no further.
type Refusal struct {
	Time    string `json:"time"` // RFC 3339
	Client  string `json:"client"`
	Topic   string `json:"topic"`
	Core    string `json:"core,omitempty"` // the core that rejected it; empty for the gateway
	Reason  string `json:"reason"`
	Payload string `json:"payload"` // at most maxShown bytes of it
}

// Published is the topic on which r was published.
func (r Refusal) Published() string { return rejectedRoot + "/" + checks.EncodeLevel(r.Client) }

// maxShown bounds what a refusal repeats of a payload, in bytes.
const maxShown = 16 << 10

// maxRefusals is the size in bytes at which the journal of refusals begins a
// new file; the one before it is kept.
const maxRefusals = 8 << 20

func newRefusal(client, topic string, payload []byte, err error) Refusal {
	shown := payload[:min(len(payload), maxShown)]
	text := strings.ToValidUTF8(string(shown), "�")
	if len(payload) > len(shown) {
		text += " [cut]"
	}
	return Refusal{Time: checks.Timestamp(time.Now()), Client: client, Topic: topic, Reason: err.Error(), Payload: text}
}

// Refusals is the journal of what was refused, one JSON object a line, in a
// file that "checkbus rejected" reads. It holds the newest 8 to 16 MiB.
type Refusals struct {
	path string
	mu   sync.Mutex
	file *os.File
	size int64
}

// OpenRefusals opens the journal in dir, which must exist.
func OpenRefusals(dir string) (*Refusals, error) {
	j := &Refusals{path: filepath.Join(dir, "rejected.ndjson")}
	return j, j.open()
}

func (j *Refusals) open() error {
	f, err := os.OpenFile(j.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return err
	}
	j.file, j.size = f, info.Size()
	return nil
}

// Add appends r. It is not synced: a refusal was told to its publisher, and
// survives the process, though not a power cut.
func (j *Refusals) Add(r Refusal) error {
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.size > maxRefusals {
		if err := errors.Join(j.file.Close(), os.Rename(j.path, j.path+".1"), j.open()); err != nil {
			return err
		}
	}
	n, err := j.file.Write(append(line, '\n'))
	j.size += int64(n)
	return err
}

// Close ends the journal.
func (j *Refusals) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.file.Close()
}

// ReadRefusals gives the newest n refusals in dir to show, oldest first. It
// may run beside the daemon that writes them.
func ReadRefusals(dir string, n int, show func(Refusal) error) error {
	path := filepath.Join(dir, "rejected.ndjson")
	var newest []Refusal
	for _, p := range []string{path + ".1", path} {
		f, err := os.Open(p)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		newest, err = readRefusals(f, newest, n)
		f.Close()
		if err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
	}
	for _, r := range newest {
		if err := show(r); err != nil {
			return err
		}
	}
	return nil
}

// readRefusals appends what r holds to newest and keeps the last n. A line cut
// short by a crash is passed over.
func readRefusals(r io.Reader, newest []Refusal, n int) ([]Refusal, error) {
	lines := bufio.NewReaderSize(r, 64<<10)
	for {
		line, err := lines.ReadBytes('\n')
		var one Refusal
		if json.Unmarshal(line, &one) == nil {
			newest = append(newest, one)
			if len(newest) > 2*n {
				newest = append(newest[:0], newest[len(newest)-n:]...)
			}
		}
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return newest[max(0, len(newest)-n):], err
		}
	}
}
