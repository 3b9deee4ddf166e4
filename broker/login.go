package broker

import (
	"net"
	"net/netip"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// loginAttempts is how many wrong passwords a user at one address may give
// before it has to wait, see Attempts.
const loginAttempts = 10

// A refusal is why a client is not let in, as its CONNACK says it.
type refusal struct {
	v5 packets.Code
	v3 byte
}

var (
	refuseAnonymous   = &refusal{packets.ErrNotAuthorized, packets.Err3NotAuthorized.Code}
	refusePassword    = &refusal{packets.ErrBadUsernameOrPassword, packets.ErrMalformedUsernameOrPassword.Code}
	refuseCertificate = &refusal{packets.Code{Code: 0x86, Reason: "the client certificate names no user"}, refusePassword.v3}
	refuseTooOften    = &refusal{packets.ErrConnectionRateExceeded, packets.Err3ServerUnavailable.Code}
	refuseBusy        = &refusal{packets.ErrServerBusy, packets.Err3ServerUnavailable.Code}
	refuseItself      = &refusal{packets.Code{Code: packets.ErrClientIdentifierNotValid.Code, Reason: "the gateway subscribes to itself"}, packets.Err3ClientIdentifierNotValid.Code}
)

// hashers is how many passwords are checked at once on so many processors: half
// of them, so that a flood of logins leaves the rest to messages, and no more
// than four, as each may take maxArgonMemory.
func hashers(processors int) int { return max(1, min(4, processors/2)) }

// login finds out who a client is and gives c its rights; nil is welcome. It
// may take a while, and runs on the client's own goroutine.
func (b *Broker) login(c *conn, client string, pk packets.Packet) *refusal {
	c.rights = rights{client: client, local: c.isLocal(), access: &b.access}
	if b.outside != nil && client == b.outside.membership.ClientID {
		return refuseItself // else each message would come back for ever
	}
	user := ""
	if pk.Connect.UsernameFlag {
		user = string(pk.Connect.Username)
	}
	passwords := b.access.Load().passwords
	switch identity := c.listener.settings.Identity; {
	case c.certificate != nil && identity != "":
		if c.rights.user = peerName(c.certificate, identity); c.rights.user == "" {
			return refuseCertificate
		}
	case user != "" && passwords != nil:
		if why := b.checkPassword(c, passwords, user, string(pk.Connect.Password)); why != nil {
			return why
		}
		c.rights.user, c.rights.stamp = user, passwords.stamp(user)
	case !c.listener.anonymous:
		return refuseAnonymous
	}
	return nil
}

// checkPassword waits for a free hasher, and then looks again whether the user
// has to wait after wrong guesses, since many may have come at once.
func (b *Broker) checkPassword(c *conn, passwords *Passwords, user, password string) *refusal {
	address := hostOf(c.RemoteAddr())
	if b.attempts.Wait(address, user) > 0 {
		return refuseTooOften
	}
	timeout := time.NewTimer(connectTimeout)
	defer timeout.Stop()
	select {
	case b.hashers <- struct{}{}:
	case <-c.closed:
		return refuseBusy
	case <-timeout.C:
		return refuseBusy
	}
	defer func() { <-b.hashers }()
	if b.attempts.Wait(address, user) > 0 {
		return refuseTooOften
	}
	if !passwords.Check(user, password) {
		b.attempts.Failed(address, user)
		return refusePassword
	}
	b.attempts.Succeeded(address, user)
	return nil
}

// hostOf is the address by which failed logins are counted, and the zero Addr
// for a Unix socket.
func hostOf(peer net.Addr) netip.Addr {
	if tcp, ok := peer.(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr()
	}
	return netip.Addr{}
}

// refuse notes why a client is not let in, for the CONNACK.
func (b *Broker) refuse(c *conn, why *refusal, user string) {
	c.refusal = why
	b.count.unauthorized.Add(1)
	if b.loginRefused.now() {
		b.log.Warn("login refused", "user", user, "client", c.rights.client, "remote", c.RemoteAddr().String(), "reason", why.v5.Reason)
	}
}

// tell puts the refusal into a CONNACK.
func (r *refusal) tell(pk *packets.Packet, version byte) {
	pk.ReasonCode, pk.Properties.ReasonString = r.v5.Code, r.v5.Reason
	if version < 5 {
		pk.ReasonCode = r.v3
	}
}
