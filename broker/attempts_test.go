package broker

import (
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

func TestFailuresMakeAnAddressWait(t *testing.T) {
	const limit = 3
	home, away := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	fail := func(a *Attempts, n int) {
		for range n {
			a.Failed(home, "bob")
		}
	}
	tests := map[string]struct {
		happens func(a *Attempts)
		address netip.Addr
		user    string
		want    time.Duration
	}{
		"none":             {func(*Attempts) {}, home, "bob", 0},
		"below the limit":  {func(a *Attempts) { fail(a, limit-1) }, home, "bob", 0},
		"at the limit":     {func(a *Attempts) { fail(a, limit) }, home, "bob", time.Second},
		"growing":          {func(a *Attempts) { fail(a, limit+3) }, home, "bob", 8 * time.Second},
		"at most":          {func(a *Attempts) { fail(a, limit+200) }, home, "bob", maxWait},
		"another user":     {func(a *Attempts) { fail(a, limit) }, home, "eve", 0},
		"another address":  {func(a *Attempts) { fail(a, limit) }, away, "bob", 0},
		"after the wait":   {func(a *Attempts) { fail(a, limit); time.Sleep(time.Second) }, home, "bob", 0},
		"during the wait":  {func(a *Attempts) { fail(a, limit+1); time.Sleep(time.Second) }, home, "bob", time.Second},
		"within the count": {func(a *Attempts) { fail(a, limit); time.Sleep(failureWindow); fail(a, 1) }, home, "bob", 2 * time.Second},
		"after the count":  {func(a *Attempts) { fail(a, limit); time.Sleep(failureWindow + 2*time.Second); fail(a, 1) }, home, "bob", 0},
		"after a success": {func(a *Attempts) {
			fail(a, limit)
			a.Succeeded(home, "bob")
			fail(a, limit-1)
		}, home, "bob", 0},
		"after another's success": {func(a *Attempts) {
			fail(a, limit)
			a.Succeeded(home, "eve")
			a.Succeeded(away, "bob")
		}, home, "bob", time.Second},
		"many users": {func(a *Attempts) {
			for i := range limit * addressFactor {
				a.Failed(home, fmt.Sprint(i))
			}
		}, home, "bob", time.Second},
		"many users, one of them good": {func(a *Attempts) {
			for i := range limit * addressFactor {
				a.Failed(home, fmt.Sprint(i))
				a.Succeeded(home, "bob")
			}
		}, home, "bob", time.Second},
		"a Unix socket": {func(a *Attempts) {
			for range 100 {
				a.Failed(netip.Addr{}, "bob")
			}
		}, netip.Addr{}, "bob", 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := NewAttempts(limit)
				tt.happens(a)
				if got := a.Wait(tt.address, tt.user); got != tt.want {
					t.Errorf("waits %v, want %v", got, tt.want)
				}
			})
		})
	}
}

func TestAddressesOfOneNetworkCountTogether(t *testing.T) {
	tests := map[string]struct {
		fails, asks string
		together    bool
	}{
		"same /64":       {"2001:db8::1", "2001:db8::ffff:2", true},
		"another /64":    {"2001:db8::1", "2001:db8:0:1::1", false},
		"mapped IPv4":    {"::ffff:192.0.2.1", "192.0.2.1", true},
		"neighbour IPv4": {"192.0.2.1", "192.0.2.2", false},
		"mapped others":  {"::ffff:192.0.2.1", "::ffff:192.0.2.2", false},
		"another zone":   {"fe80::1%eth0", "fe80::2%eth1", true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			a := NewAttempts(1)
			a.Failed(netip.MustParseAddr(tt.fails), "bob")
			if wait := a.Wait(netip.MustParseAddr(tt.asks), "bob"); (wait > 0) != tt.together {
				t.Errorf("waits %v", wait)
			}
		})
	}
}

// One host with a wrong password must not keep the others behind its address
// out, however long it tries.
func TestAMisconfiguredHostSlowsItselfAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := NewAttempts(10)
		nat := netip.MustParseAddr("192.0.2.1")
		for range 24 * 60 * 60 {
			if a.Wait(nat, "wrong") == 0 {
				a.Failed(nat, "wrong")
			}
			if wait := a.Wait(nat, "good"); wait > 0 {
				t.Fatalf("a good host waits %v", wait)
			}
			time.Sleep(time.Second)
		}
	})
}

func TestTheLatestAttemptsAreRemembered(t *testing.T) {
	a := NewAttempts(1)
	address := netip.MustParseAddr("10.0.0.0")
	stubborn, once := address.Next(), address.Next().Next()
	for i := range maxAttempts {
		address = address.Next()
		a.Failed(address, "bob")
		if i%(maxAttempts/4) == 0 {
			a.Failed(stubborn, "bob") // five times in all
		}
	}
	if len(a.byKey) != maxAttempts || a.order.Len() != maxAttempts {
		t.Errorf("%d and %d are remembered, want %d", len(a.byKey), a.order.Len(), maxAttempts)
	}
	if a.Wait(address, "bob") == 0 || a.Wait(stubborn, "bob") < 8*time.Second || a.Wait(once, "bob") > 0 {
		t.Error("not the latest are remembered")
	}
}
