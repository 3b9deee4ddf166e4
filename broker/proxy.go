package broker

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/pires/go-proxyproto"
)

// proxied is a connection behind a load balancer, which said where the client
// is.
type proxied struct {
	net.Conn
	r    *bufio.Reader
	from net.Addr
}

func (p *proxied) Read(b []byte) (int, error) {
	if p.r != nil && p.r.Buffered() > 0 {
		return p.r.Read(b)
	}
	p.r = nil
	return p.Conn.Read(b)
}

func (p *proxied) RemoteAddr() net.Addr { return p.from }

// unproxy reads the header of the PROXY protocol, version 1 or 2, that c must
// begin with. A client that the header does not place in an IP network, as in
// a load balancer's own checks, is where the load balancer is.
func (c *conn) unproxy() error {
	if !c.listener.settings.trusts(c.Conn.RemoteAddr()) {
		return errUntrusted
	}
	r := bufio.NewReader(c.Conn)
	header, err := proxyproto.Read(r)
	if err != nil {
		return fmt.Errorf("PROXY protocol: %w", err)
	}
	p := &proxied{Conn: c.Conn, r: r, from: c.Conn.RemoteAddr()}
	if source, ok := header.SourceAddr.(*net.TCPAddr); ok && !header.Command.IsLocal() {
		p.from = source
	}
	c.wrap(p)
	return nil
}

// trusts reports whether a connection from peer may say where its client is.
func (l Listener) trusts(peer net.Addr) bool {
	from := hostOf(peer).Unmap().WithZone("")
	return len(l.ProxyFrom) == 0 || slices.ContainsFunc(l.ProxyFrom, func(s string) bool {
		network, err := parseNetwork(s)
		return err == nil && network.Contains(from)
	})
}

// parseNetwork reads a network such as 10.0.0.0/8, or one address.
func parseNetwork(s string) (netip.Prefix, error) {
	if address, err := netip.ParseAddr(s); err == nil && address.Zone() == "" {
		return netip.PrefixFrom(address, address.BitLen()), nil
	}
	return netip.ParsePrefix(s)
}
