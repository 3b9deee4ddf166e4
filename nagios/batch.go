package nagios

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strconv"

	"checkbus/checks"
)

const (
	// maxBatchBytes bounds a batch file, and with it what a resume reads.
	maxBatchBytes = 8 << 20
	// maxBatchDir leaves room for the rest of a PROCESS_FILE command that is
	// written in one piece.
	maxBatchDir = 3072
)

// What a batch's files are, by their extension. The last two are one file
// under two names.
const (
	fresh = ".new"  // being written; never told to the core
	run   = ".run"  // told to the core, which removes it when all is processed
	sent  = ".sent" // a copy of what was handed over, for a resume
)

// A kind of batch is the beginning of its name.
type kind string

const (
	once  kind = "batch"
	again kind = "again" // of results that the core took before, and has lost
)

// errLost is a batch that went missing altogether, so that nobody knows
// whether it was processed.
var errLost = errors.New("the batch file was removed by somebody else")

// A batch is results in one file.
type batch struct {
	kind        kind
	boot        string // which boot of the machine it was written in
	first, last uint64 // the spool's numbers of its first and last result
	pending     bool   // the core has not yet removed it
}

var batchName = regexp.MustCompile(`^(batch|again)-([0-9a-f]{8})-([0-9]{1,20})-([0-9]{1,20})(\.new|\.run|\.sent)$`)

func (b batch) name(extension string) string {
	return fmt.Sprintf("%s-%s-%d-%d%s", b.kind, b.boot, b.first, b.last, extension)
}

// parseBatchName is name's inverse.
func parseBatchName(name string) (b batch, extension string, ok bool) {
	m := batchName.FindStringSubmatch(name)
	if m == nil {
		return batch{}, "", false
	}
	first, err1 := strconv.ParseUint(m[3], 10, 64)
	last, err2 := strconv.ParseUint(m[4], 10, 64)
	return batch{kind: kind(m[1]), boot: m[2], first: first, last: last}, m[5], err1 == nil && err2 == nil
}

// A handed set tells which results were processed before, by their number in
// the spool and their very text: the numbers of another spool would prove
// nothing.
type handed []handedBatch

type handedBatch struct {
	batch
	lines map[string]bool
}

// handed reads the copies of the batches that may hold any of results.
func (o *outbox) handed(results []checks.Result) (handed, error) {
	var h handed
	for _, b := range o.held {
		if !slices.ContainsFunc(results, func(r checks.Result) bool { return b.holds(r.Seq) }) {
			continue
		}
		text, err := os.ReadFile(o.path(b.name(sent)))
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed by somebody else: better twice than never
		} else if err != nil {
			return nil, err
		}
		lines := make(map[string]bool)
		for line := range bytes.Lines(text) {
			lines[string(line)] = true
		}
		h = append(h, handedBatch{b, lines})
	}
	return h, nil
}

func (b batch) holds(seq uint64) bool { return seq != 0 && b.first <= seq && seq <= b.last }

// has reports whether the result with this number was processed as line.
func (h handed) has(seq uint64, line []byte) bool {
	return slices.ContainsFunc(h, func(b handedBatch) bool { return b.holds(seq) && b.lines[string(line)] })
}
