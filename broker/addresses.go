package broker

import (
	"net/netip"
	"sync"
)

// addresses counts the open connections of each network address, so that one
// machine cannot take the room of all. The zero value counts none.
type addresses struct {
	mu   sync.Mutex
	open map[netip.Addr]int
}

// enter counts a connection from address, and reports false, and does not count
// it, where there are limit already.
func (a *addresses) enter(address netip.Addr, limit int) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.open[address] >= limit {
		return false
	}
	if a.open == nil {
		a.open = map[netip.Addr]int{}
	}
	a.open[address]++
	return true
}

// leave takes back one enter that succeeded.
func (a *addresses) leave(address netip.Addr) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.open[address]--; a.open[address] == 0 {
		delete(a.open, address)
	}
}

// seat counts c among the connections of its address, until it is served.
// Clients on this machine are not counted.
func (b *Broker) seat(c *conn) error {
	limit, address := b.cfg.MaxConnectionsPerAddress, holderOf(hostOf(c.RemoteAddr()))
	if limit == 0 || c.isLocal() || !address.IsValid() {
		return nil
	}
	if !b.addresses.enter(address, limit) {
		return errCrowdedAddress
	}
	c.seat = address
	return nil
}

// unseat ends what seat began.
func (b *Broker) unseat(c *conn) {
	if c.seat.IsValid() {
		b.addresses.leave(c.seat)
	}
}

// holderOf is what stands for whoever has an address: of IPv6, where one
// has a whole network, its /64.
func holderOf(address netip.Addr) netip.Addr {
	address = address.Unmap().WithZone("")
	if address.Is6() {
		network, _ := address.Prefix(64) // never fails
		return network.Addr()
	}
	return address
}
