package listen

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// CheckAddress tells what is wrong with an address: it is host:port, unix:/path,
// or systemd:NAME.
func CheckAddress(address string) error {
	if name, ok := strings.CutPrefix(address, "systemd:"); ok {
		if name == "" || strings.Contains(name, ":") {
			return fmt.Errorf("%q needs the name of a socket, as in systemd:checkbus.socket", address)
		}
		return nil
	}
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		if !strings.HasPrefix(path, "/") {
			return fmt.Errorf("%q needs an absolute path, as in unix:/run/checkbus/mqtt", address)
		}
		return nil
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("%q is none of host:port, unix:/path and systemd:NAME", address)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("%q has no port from 0 to 65535", address)
	}
	return nil
}

// Network splits a valid address into what net.Listen takes, or "systemd" and a
// name.
func Network(address string) (network, rest string) {
	for _, network := range []string{"unix", "systemd"} {
		if rest, ok := strings.CutPrefix(address, network+":"); ok {
			return network, rest
		}
	}
	return "tcp", address
}

// IsLocal reports whether a valid address is one that only this machine reaches.
// Of systemd's sockets it is not known.
func IsLocal(address string) bool {
	network, rest := Network(address)
	host, _, _ := net.SplitHostPort(rest)
	ip, _ := netip.ParseAddr(host)
	return network == "unix" || network == "tcp" && (host == "localhost" || ip.IsLoopback())
}
