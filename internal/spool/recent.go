package spool

import "checkbus/checks"

// keepRecent is how many of the newest records stay although all cursors have
// committed them, for Recent.
const keepRecent = 8192

// Recent calls f with the newest results, oldest first, whether they were read
// or not: at least the last 8192 where there are so many and there are cursors.
// It stops at the first error of f and returns it.
func (q *Queue) Recent(f func(checks.Result) error) error {
	s, err := q.acquire()
	if err != nil {
		return err
	}
	defer q.release()
	q.mu.Lock()
	upto, after := q.durable.seq, q.trimmed.seq
	q.mu.Unlock()
	if upto > keepRecent {
		after = max(after, upto-keepRecent)
	}
	buf := make([]checks.Result, 256)
	for after < upto {
		n, err := s.read(buf, after, upto)
		if err != nil {
			return q.explain(err)
		}
		for _, r := range buf[:n] {
			if err := f(r); err != nil {
				return err
			}
		}
		after += uint64(n)
	}
	return nil
}
