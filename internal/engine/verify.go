package engine

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble"
	"github.com/cockroachdb/pebble/vfs"
)

// verifyLogs looks for damage in the middle of the logs of the Pebble in dir.
// Pebble takes the first chunk that it cannot read for the end of a log
// (open.go:792, version_set.go:232), and would forget all that follows without
// a word. A store has one write in flight at a time, synced before the next
// one, and Pebble does the same with its MANIFEST. So what a power cut leaves
// half written can only be the last write of a log, and one that begins after
// an unreadable chunk proves that something acknowledged was damaged.
func verifyLogs(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		format, ok := logFormat(e.Name())
		if !ok {
			continue
		}
		if err := verifyLog(filepath.Join(dir, e.Name()), format); err != nil {
			return err
		}
	}
	desc, err := pebble.Peek(dir, vfs.Default)
	if err != nil || !desc.Exists {
		return err // that it does not exist is for opening it to say
	}
	return verifyLog(desc.ManifestFilename, legacy)
}

// logFormat is how the chunks of the log with this file name begin; ok is false
// when it is no log's. Pebble keeps the low 32 bits of the number in each chunk.
func logFormat(name string) (f chunkFormat, ok bool) {
	digits, ok := strings.CutSuffix(name, ".log")
	if !ok {
		return f, false
	}
	number, err := strconv.ParseUint(digits, 10, 64)
	return recyclable(uint32(number)), err == nil
}

// LogEnd returns how far the log at path can be read, in bytes: a power cut
// leaves no more of it. Tests of crashes need it.
func LogEnd(path string) (int, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	format, ok := logFormat(filepath.Base(path))
	if !ok {
		return 0, fmt.Errorf("%s is no log", path)
	}
	return format.readable(data), nil
}

// A log consists of blocks of 32 KiB and these of chunks, none of which crosses
// the end of a block. A write is one chunk, or a first, middle ones and a last.
const logBlock = 32 << 10

// A chunkFormat is how a chunk begins: with a checksum of all that follows it
// (4 bytes), the length of its content (2), its type (1), and in logs whose
// files are used again the number of the log (4). Package record of Pebble has
// the format.
type chunkFormat struct {
	head        int
	full, first byte // the types that begin a write; the others are up to first+2
	number      uint32
}

var legacy = chunkFormat{head: 7, full: 1, first: 2}

func recyclable(number uint32) chunkFormat {
	return chunkFormat{head: 11, full: 5, first: 6, number: number}
}

// verifyLog reports a write that begins after an unreadable chunk.
func verifyLog(path string, f chunkFormat) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	end := f.readable(data)
	for at := f.candidate(data, end+1); at < len(data); at = f.candidate(data, at+1) {
		if n, begins := f.chunk(data, at); n > 0 && begins {
			return fmt.Errorf("%s is damaged at byte %d, and goes on at byte %d", path, end, at)
		}
	}
	return nil
}

// candidate is the first byte from at on where a chunk could begin, or the
// length of data. Most of what follows the end of a log is zeros or chunks of
// the log whose file it was before, so it pays to look for the number.
func (f chunkFormat) candidate(data []byte, at int) int {
	if f.head == legacy.head || at+7 >= len(data) {
		return at
	}
	number := binary.LittleEndian.AppendUint32(nil, f.number)
	if i := bytes.Index(data[at+7:], number); i >= 0 {
		return at + i
	}
	return len(data)
}

// readable is the length of data up to the first chunk that cannot be read.
func (f chunkFormat) readable(data []byte) int {
	at := 0
	for at < len(data) {
		if room := logBlock - at%logBlock; room < f.head {
			at += room
			continue
		}
		n, _ := f.chunk(data, at)
		if n == 0 {
			break
		}
		at += n
	}
	return at
}

// castagnoli is the polynomial of the checksums of chunks.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// chunk returns the length of the chunk at byte at of data, 0 when there is no
// sound one, and whether a write begins with it.
func (f chunkFormat) chunk(data []byte, at int) (n int, begins bool) {
	room := min(len(data)-at, logBlock-at%logBlock)
	if room < f.head {
		return 0, false
	}
	c := data[at : at+room]
	n = f.head + int(binary.LittleEndian.Uint16(c[4:]))
	kind := c[6]
	if n > room || kind < f.full || kind > f.first+2 {
		return 0, false
	}
	if f.head != legacy.head && binary.LittleEndian.Uint32(c[7:]) != f.number {
		return 0, false
	}
	sum := crc32.Checksum(c[6:n], castagnoli)
	if masked := sum>>15 | sum<<17; binary.LittleEndian.Uint32(c) != masked+0xa282ead8 {
		return 0, false
	}
	return n, kind == f.full || kind == f.first
}
