package nagios

import (
	"bytes"
	"errors"
	"io"
	"os"
	"sort"
	"time"
)

// maxLogLine is how much of a line is kept: a longer one loses its end, which
// is plugin output.
const maxLogLine = 64 << 10

// A tail reads what is appended to the core's log, through rotations. It is
// open from begin on.
//
// Rotation is a rename, or a copy and a truncation. After a rename the core may
// write to the old file for a while, so the old one is read until the new one
// has something in it.
type tail struct {
	path string
	file *os.File // nil: there is no log yet
	read int64    // bytes of file that were read
	from int64    // lines before this time, in Unix seconds, are passed over; 0 for none

	buf     []byte // what was read of a line that has not ended
	skip    bool   // that line is too long, or its beginning is missing: it is told of no more
	deliver func(line []byte, at time.Time)
}

// newTail returns a tail that delivers each line, without its newline, which
// is good until deliver returns, and when it was read.
func newTail(path string, deliver func(line []byte, at time.Time)) *tail {
	return &tail{path: path, deliver: deliver, buf: make([]byte, 0, maxLogLine)}
}

// begin opens the log at its first line of the second from or later. It may be
// missing yet: it is read from its start then.
func (t *tail) begin(from int64) error {
	t.from = from
	if err := t.open(); errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	fi, err := t.file.Stat()
	if err != nil {
		return err
	}
	const block = 4096
	first := sort.Search(int(fi.Size()/block)+1, func(i int) bool {
		at, ok := stampAfter(t.file, int64(i)*block)
		return !ok || at >= from
	})
	if first > 0 {
		t.read, t.skip = int64(first-1)*block, first > 1
	}
	return nil
}

// stampAfter is the time of the first whole line behind offset.
func stampAfter(f *os.File, offset int64) (at int64, ok bool) {
	buf := make([]byte, maxLogLine)
	n, _ := f.ReadAt(buf, offset) // what cannot be read is not behind offset
	rest := buf[:n]
	for whole := offset == 0; len(rest) > 0; whole = true {
		var line []byte
		line, rest, _ = bytes.Cut(rest, []byte("\n"))
		if at, _, ok := parseStamp(line); whole && ok {
			return at, true
		}
	}
	return 0, false
}

func (t *tail) open() error {
	f, err := os.Open(t.path)
	if err != nil {
		return err
	}
	t.start(f)
	return nil
}

// start reads f from its beginning, in place of what was read before.
func (t *tail) start(f *os.File) {
	t.close()
	t.file, t.read, t.buf, t.skip = f, 0, t.buf[:0], false
}

func (t *tail) close() {
	if t.file != nil {
		_ = t.file.Close() // it was only read
		t.file = nil
	}
}

// drain delivers all lines that were written before the call. It fails as long
// as there was no log at all.
func (t *tail) drain() error {
	if t.file == nil {
		if err := t.open(); err != nil {
			return err
		}
	}
	for {
		if err := t.readOn(); err != nil {
			return err
		}
		next, err := t.successor()
		if err != nil || next == nil {
			return err
		}
		// What came before the first line of the next file.
		if err := t.readOn(); err != nil {
			return errors.Join(err, next.Close())
		}
		t.start(next)
	}
}

// successor opens the file that the core writes by now, or returns nil while
// that is still the open one. A file that was truncated is its own successor.
func (t *tail) successor() (*os.File, error) {
	now, err := os.Stat(t.path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	open, err := t.file.Stat()
	if err != nil {
		return nil, err
	}
	same := os.SameFile(now, open)
	if same && now.Size() >= t.read || !same && now.Size() == 0 {
		return nil, nil
	}
	return os.Open(t.path)
}

// readOn delivers what was appended to the open file.
func (t *tail) readOn() error {
	for {
		n, err := t.file.ReadAt(t.buf[len(t.buf):cap(t.buf)], t.read)
		at := time.Now()
		t.read += int64(n)
		t.buf = t.buf[:len(t.buf)+n]
		t.split(at)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// split delivers the whole lines in buf, and as much as fits of one that is too
// long, and keeps the rest.
func (t *tail) split(at time.Time) {
	rest := t.buf
	for {
		line, after, found := bytes.Cut(rest, []byte("\n"))
		if !found {
			break
		}
		t.line(line, at)
		t.skip, rest = false, after
	}
	if len(rest) == cap(t.buf) || t.skip {
		t.line(rest, at)
		t.skip, rest = true, nil
	}
	t.buf = t.buf[:copy(t.buf[:cap(t.buf)], rest)]
}

func (t *tail) line(line []byte, at time.Time) {
	if t.skip {
		return
	}
	if t.from != 0 {
		if stamp, _, ok := parseStamp(line); !ok || stamp < t.from {
			return
		}
		t.from = 0
	}
	t.deliver(line, at)
}
