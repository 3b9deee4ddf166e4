package bus

import (
	"fmt"
	"runtime"
	"testing"

	"checkbus/checks"
)

// BenchmarkTracker is what 100,000 objects cost: their memory, a snapshot of
// them all in which nothing is new, and a word on one of them.
func BenchmarkTracker(b *testing.B) {
	const n = 100_000
	all := make([]checks.Status, n)
	for i := range all {
		all[i] = is(checks.OK, 1, on(fmt.Sprint(i)), because("fine"))
	}
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	t := newTracker([]string{"icinga"}, false, func(news) {})
	t.sawAll(0, all)
	perObject := float64(heap()-before) / n
	b.Run("snapshot", func(b *testing.B) {
		for b.Loop() {
			t.sawAll(0, all)
		}
		b.ReportMetric(perObject, "B/object")
	})
	b.Run("word", func(b *testing.B) {
		i := 0
		for b.Loop() {
			t.saw(0, is(checks.State(i/n%2), int64(i), on(all[i%n].Service)))
			i++
		}
	})
}
