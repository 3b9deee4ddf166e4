package nagios

import (
	"strings"
	"sync"

	"checkbus/checks"
)

// maxHandovers bounds the batches, each of up to maxBatchBytes, that the core
// has processed and the feed has yet to look at. Results beyond that are told by
// the log and the status file alone.
const maxHandovers = 8

// handovers are the batches of results that the core works on, or has processed
// a moment ago: the feed knows of these results more than the log tells.
type handovers struct {
	wake chan struct{} // something was taken

	mu      sync.Mutex
	watched bool        // a feed asks for them
	open    []*handover // oldest first
}

// A handover is one batch. Its results belong to the feed.
type handover struct {
	results []checks.Result
	taken   bool // the core has processed it

	// byObject are the places in results, in order, of those that are not told
	// yet; nil before the feed looks.
	byObject map[checks.Object][]int
}

func newHandovers() *handovers { return &handovers{wake: make(chan struct{}, 1)} }

// watch begins or ends the noting of batches.
func (h *handovers) watch(on bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.watched, h.open = on, nil
}

// begin notes the members of results, before the core is told of them. It
// returns nil where they are not noted.
func (h *handovers) begin(results []checks.Result, members []int) *handover {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.watched || len(h.open) >= maxHandovers {
		return nil
	}
	b := &handover{results: make([]checks.Result, len(members))}
	for i, m := range members {
		b.results[i] = results[m]
	}
	h.open = append(h.open, b)
	return b
}

// end notes that the core has processed b, or that this will not be known.
func (h *handovers) end(b *handover, taken bool) {
	if b == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if !taken {
		h.remove(b)
		return
	}
	b.taken = true
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// remove needs the lock.
func (h *handovers) remove(b *handover) {
	for i := range h.open {
		if h.open[i] == b {
			h.open = append(h.open[:i:i], h.open[i+1:]...)
			return
		}
	}
}

// processed are the batches that the core has processed by now.
func (h *handovers) processed() []*handover {
	h.mu.Lock()
	defer h.mu.Unlock()
	var taken []*handover
	for _, b := range h.open {
		if b.taken {
			taken = append(taken, b)
		}
	}
	return taken
}

// done drops batches of which all was told.
func (h *handovers) done(batches []*handover) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, b := range batches {
		h.remove(b)
	}
}

// find returns the result that the alert l is about, and drops those of the
// object before it, about which the core logged nothing. It returns nil for the
// alert of a check that came from elsewhere.
func (h *handovers) find(l logLine, f format) *checks.Result {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, b := range h.open {
		b.index()
		places := b.byObject[l.Object]
		for i, place := range places {
			if r := &b.results[place]; l.isOf(*r, f) {
				b.byObject[l.Object] = places[i+1:]
				return r
			}
		}
	}
	return nil
}

// has reports whether a result of o is there that is not told yet.
func (h *handovers) has(o checks.Object) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, b := range h.open {
		b.index()
		if len(b.byObject[o]) > 0 {
			return true
		}
	}
	return false
}

// isOf reports whether l can be what the core logged of r.
func (l logLine) isOf(r checks.Result, f format) bool {
	if l.state != r.State && (!l.IsHost() || problem(l.state) != problem(r.State)) {
		return false
	}
	reason, _ := f.stored(r)
	first, _, _ := strings.Cut(reason, "\n")
	return first == l.output
}

// index sorts the results by object, once. The feed alone calls it.
func (b *handover) index() {
	if b.byObject != nil {
		return
	}
	b.byObject = make(map[checks.Object][]int, len(b.results))
	for i, r := range b.results {
		b.byObject[r.Object] = append(b.byObject[r.Object], i)
	}
}

// newest are the last results of the objects of which one is not told yet, in
// the order in which they were handed over.
func (b *handover) newest() []checks.Result {
	b.index()
	var last []checks.Result
	for i, r := range b.results {
		if places := b.byObject[r.Object]; len(places) > 0 && places[len(places)-1] == i {
			last = append(last, r)
		}
	}
	return last
}
