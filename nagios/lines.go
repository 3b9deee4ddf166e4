package nagios

import (
	"context"

	"checkbus/checks"
)

// submitLines writes results into the command file and sets their verdicts. A
// result counts as taken when it was written, so that those that a dying core
// had read and not processed, up to about 250 KB, are lost with it.
func (s *Sink) submitLines(ctx context.Context, results []checks.Result, verdicts []error) {
	p, err := openPipe(s.cfg.CommandFile)
	if err != nil {
		s.down(err)
		fail(verdicts, err)
		return
	}
	defer p.close()
	chunk := make([]byte, 0, atomicWrite)
	var members []int // of chunk, as indexes of results
	flush := func(done int) bool {
		if len(members) == 0 {
			return true
		}
		if err := p.write(ctx, chunk, slow*s.patience); err != nil {
			if ctx.Err() == nil {
				s.down(err)
			}
			for _, m := range members {
				verdicts[m] = err
			}
			fail(verdicts[done:], err)
			return false
		}
		chunk, members = chunk[:0], members[:0]
		return true
	}
	objects := lookup{objects: s.objects}
	var line []byte
	for i, r := range results {
		if line, err = s.format.appendFit(line[:0], r, atomicWrite); err == nil {
			err = objects.check(r.Object)
		}
		if err != nil {
			verdicts[i] = err
			continue
		}
		if len(chunk)+len(line) > atomicWrite && !flush(i) {
			return
		}
		chunk, members = append(chunk, line...), append(members, i)
	}
	if flush(len(results)) {
		s.up()
	}
}
