package broker

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// rules say what clients may do: those of an ACL file, or the default ones.
type rules interface {
	// Allows reports whether a client may write, or else read, topic.
	Allows(user, client string, writes bool, topic string) bool
}

// access is what the access files say.
type access struct {
	passwords     *Passwords // nil without a password file
	local, remote rules      // for clients on this machine, and for others
}

// readAccess reads the files that cfg names. Of one that cannot be read, the
// result has what old has.
func readAccess(cfg Access, root string, old access) (access, error) {
	var errs []error
	if cfg.PasswordFile != "" {
		p, err := ReadPasswords(cfg.PasswordFile)
		if err != nil {
			errs = append(errs, fmt.Errorf("access.password_file: %w", err))
		} else {
			old.passwords = p
		}
	}
	if cfg.ACLFile == "" {
		old.local, old.remote = DefaultAccess{root, true}, DefaultAccess{root, false}
	} else if acl, err := ReadACL(cfg.ACLFile); err != nil {
		errs = append(errs, fmt.Errorf("access.acl_file: %w", err))
	} else {
		old.local, old.remote = acl, acl
	}
	return old, errors.Join(errs...)
}

// rights say what a connection may do, by the rules that are in force.
type rights struct {
	user   string // authenticated as; empty for an anonymous client
	client string // the MQTT client identifier
	all    bool   // everything but what is Reserved
	local  bool   // came over loopback or a Unix socket
	stamp  string // of the password that it knew, see Passwords.stamp
	access *atomic.Pointer[access]

	readsOnly bool // may publish nothing
}

// isLocal reports whether the client is on this machine. What a load balancer
// says of its clients is no proof of that.
func (c *conn) isLocal() bool { return !c.listener.settings.ProxyProtocol && isLocal(c.RemoteAddr()) }

// isLocal reports whether a client at this address is on this machine.
func isLocal(peer net.Addr) bool {
	switch a := peer.(type) {
	case *net.UnixAddr:
		return true
	case *net.TCPAddr:
		ip, _ := netip.AddrFromSlice(a.IP)
		return ip.Unmap().IsLoopback()
	}
	return false
}

// mayWrite reports whether the connection may publish to topic.
func (r rights) mayWrite(topic string) bool {
	return !r.readsOnly && !Reserved(topic) && r.allows(true, topic)
}

// mayRead reports whether the connection may receive what is published on
// topic.
func (r rights) mayRead(topic string) bool { return r.allows(false, topic) }

func (r rights) allows(writes bool, topic string) bool {
	if r.all {
		return true
	}
	rules := r.access.Load().remote
	if r.local {
		rules = r.access.Load().local
	}
	return rules.Allows(r.user, r.client, writes, topic)
}

// outdated reports whether the password by which the connection logged in is no
// longer that of its user.
func (r rights) outdated() bool {
	passwords := r.access.Load().passwords
	return r.stamp != "" && passwords.stamp(r.user) != r.stamp
}

// Reload reads the access files and the certificates again. Rules hold at once,
// for clients that are connected too; users that are gone from the password
// file, or have another password there, are disconnected. Connections keep the
// certificates that they began with. A file that cannot be read, or has a
// mistake, changes nothing: what it said before stays in force, and the error
// names it and the line. So does a server's certificate that is not valid now.
// It may be called at any time after Listen.
func (b *Broker) Reload() error {
	b.reloading.Lock()
	defer b.reloading.Unlock()
	next, err := readAccess(b.cfg.Access, b.root, *b.access.Load())
	b.access.Store(&next)
	b.dropOutdated()
	errs := []error{err}
	for i, ln := range b.listeners {
		if ln.certificates != nil {
			errs = append(errs, inListener(i, ln.certificates.Reload()))
		}
	}
	return errors.Join(errs...)
}

// dropOutdated disconnects those who would not get in again.
func (b *Broker) dropOutdated() {
	b.mu.Lock()
	var outdated []*mqtt.Client
	for _, s := range b.sessions {
		s.mu.Lock()
		if s.conn != nil && s.conn.rights.outdated() {
			outdated = append(outdated, s.conn.client)
		}
		s.mu.Unlock()
	}
	b.mu.Unlock()
	for _, cl := range outdated {
		_ = b.disconnect(cl, packets.ErrNotAuthorized)
	}
}
