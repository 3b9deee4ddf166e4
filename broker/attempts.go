package broker

import (
	"container/list"
	"hash/maphash"
	"net/netip"
	"sync"
	"time"
)

// How long an address waits after too many failures: the first time, and at
// most. Failures count together when each comes within failureWindow of the one
// before; it is shorter than maxWait, or a single user that fails for ever would
// in time reach the limit of its address.
const (
	firstWait     = time.Second
	maxWait       = 5 * time.Minute
	failureWindow = time.Minute
)

// addressFactor is how many times the limit of one user an address may fail for
// all users together.
const addressFactor = 10

// maxAttempts is how many failing addresses and users are remembered, about 200
// bytes each. The ones that failed last stay.
const maxAttempts = 20_000

// Attempts limit failed logins by address. After limit failures for one user
// from one address, each within a minute of the one before or of the end of its
// wait, further logins of that user from there have to wait: a second, then
// twice as long after each further failure, up to five minutes. The same holds
// for all users of an address together after ten times as many failures, so
// that trying one password with many names does not pay either. An IPv6 address
// stands for its /64 network.
//
// Where many hosts share an address, one with a wrong password therefore slows
// itself alone: its own limit stops it long before the address's, as logins
// that must wait are not tried and do not count. A success makes that user's
// failures from there forgotten, but not the address's, which an attacker with
// one good password could wash away else.
type Attempts struct {
	limit int
	seed  maphash.Seed

	mu    sync.Mutex
	byKey map[attemptKey]*list.Element
	order *list.List // of *failures, the latest first
}

// An attemptKey is a user at an address, or with user 0 the address itself.
type attemptKey struct {
	address netip.Addr
	user    uint64
}

type failures struct {
	key     attemptKey
	count   int
	waits   time.Time // until then
	forgets time.Time // when no more have come by then
}

// NewAttempts returns an empty count of failures. A limit below 1 is 1.
func NewAttempts(limit int) *Attempts {
	return &Attempts{
		limit: max(1, limit),
		seed:  maphash.MakeSeed(),
		byKey: map[attemptKey]*list.Element{},
		order: list.New(),
	}
}

// Wait is how long user at address has to wait before its password may be
// checked; 0 is no time. The zero Addr, of a Unix socket, never waits.
func (a *Attempts) Wait(address netip.Addr, user string) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	var wait time.Duration
	for _, key := range a.keys(address, user) {
		if e := a.byKey[key]; e != nil {
			wait = max(wait, time.Until(e.Value.(*failures).waits))
		}
	}
	return wait
}

// Failed counts a wrong password.
func (a *Attempts) Failed(address netip.Addr, user string) {
	if !address.IsValid() {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	for _, key := range a.keys(address, user) {
		limit := a.limit
		if key.user == 0 {
			limit *= addressFactor
		}
		a.failures(key, now).add(now, limit)
	}
}

// Succeeded forgets the failures of user at address, who knew the password.
func (a *Attempts) Succeeded(address netip.Addr, user string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	key := a.keys(address, user)[0]
	if e := a.byKey[key]; e != nil {
		a.order.Remove(e)
		delete(a.byKey, key)
	}
}

// keys are those of the user at address, and of the address.
func (a *Attempts) keys(address netip.Addr, user string) [2]attemptKey {
	address = holderOf(address)
	return [2]attemptKey{{address, maphash.String(a.seed, user) | 1}, {address, 0}}
}

// failures returns the count of key, which becomes the latest, and drops the
// oldest when there are too many.
func (a *Attempts) failures(key attemptKey, now time.Time) *failures {
	e := a.byKey[key]
	if e == nil {
		e = a.order.PushFront(&failures{key: key})
		a.byKey[key] = e
	}
	a.order.MoveToFront(e)
	if len(a.byKey) > maxAttempts {
		oldest := a.order.Remove(a.order.Back()).(*failures)
		delete(a.byKey, oldest.key)
	}
	f := e.Value.(*failures)
	if now.After(f.forgets) {
		f.count = 0
	}
	return f
}

func (f *failures) add(now time.Time, limit int) {
	f.count++
	f.waits = now
	if over := f.count - limit; over >= 0 {
		f.waits = now.Add(min(maxWait, firstWait<<min(over, 16)))
	}
	f.forgets = f.waits.Add(failureWindow)
}
