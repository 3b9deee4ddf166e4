package broker

// references count for how many sessions each stored message waits. Messages
// have numbers in a row, so that a page of counts takes 4 bytes for each.
type references map[uint64]*referencePage

const referencePageSize = 1024

type referencePage struct {
	used   int // counts that are not 0
	counts [referencePageSize]uint32
}

// add counts one more, and reports whether it is the first.
func (r references) add(message uint64) (first bool) {
	page := r[message/referencePageSize]
	if page == nil {
		page = &referencePage{}
		r[message/referencePageSize] = page
	}
	count := &page.counts[message%referencePageSize]
	first = *count == 0
	if first {
		page.used++
	}
	*count++
	return first
}

// release counts one less, and reports whether it was the last.
func (r references) release(message uint64) (last bool) {
	page := r[message/referencePageSize]
	if page == nil {
		return false
	}
	count := &page.counts[message%referencePageSize]
	if *count == 0 {
		return false
	}
	if *count--; *count > 0 {
		return false
	}
	if page.used--; page.used == 0 {
		delete(r, message/referencePageSize)
	}
	return true
}
