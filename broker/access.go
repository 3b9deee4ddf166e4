package broker

import (
	"net"
	"net/netip"
	"strings"
)

// rights say what a connection may do. Without an access file an anonymous
// client has all rights on this machine, over loopback or a Unix socket, and
// reads only from elsewhere.
type rights struct {
	user  string // authenticated as; empty for an anonymous client
	local bool
}

func rightsOf(peer net.Addr) rights {
	switch a := peer.(type) {
	case *net.UnixAddr:
		return rights{local: true}
	case *net.TCPAddr:
		ip, _ := netip.AddrFromSlice(a.IP)
		return rights{local: ip.Unmap().IsLoopback()}
	}
	return rights{}
}

// mayWrite reports whether the connection may publish to topic. Below checkbus
// and on topics that begin with a dollar sign only the gateway itself speaks.
func (r rights) mayWrite(topic string) bool {
	if topic[0] == '$' || topic == "checkbus" || strings.HasPrefix(topic, "checkbus/") {
		return false
	}
	return r.local
}

// mayRead reports whether the connection may subscribe to filter, and receive
// what is published on a topic.
func (r rights) mayRead(string) bool { return true }
