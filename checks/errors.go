package checks

import (
	"errors"
	"fmt"
)

// Why a result goes no further. Any error that wraps none of these is worth
// another try.
var (
	// ErrInvalid: the message is wrong, and its publisher's to mend.
	ErrInvalid = errors.New("invalid")
	// ErrRejected: the result is sound, and will never be taken.
	ErrRejected = errors.New("rejected")
	// ErrUnknownObject: no core knows the host or service.
	ErrUnknownObject = fmt.Errorf("%w: unknown object", ErrRejected)
	// ErrStale: a newer result of the same object has been accepted already.
	ErrStale = fmt.Errorf("%w: stale", ErrRejected)
	// ErrDenied: the publisher may not report for this object.
	ErrDenied = fmt.Errorf("%w: access denied", ErrRejected)
	// ErrFull: there is no room now; the same result may be taken later.
	ErrFull = errors.New("spool full")
	// ErrPartial: some items of a batch were refused, and the others taken.
	ErrPartial = errors.New("part of the batch was refused")
)
