package broker

import (
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

// loginAttempts is how many wrong passwords a user at one address may give
// before it has to wait, see Attempts.
const loginAttempts = 10

// longestClientID is the longest client identifier, in bytes. Sessions keep theirs.
const longestClientID = 4 << 10

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
	refuseWill        = &refusal{packets.ErrTopicNameInvalid, packets.Err3NotAuthorized.Code}
	refuseFull        = &refusal{packets.ErrQuotaExceeded, packets.Err3ServerUnavailable.Code}
	refuseMethod      = &refusal{packets.ErrBadAuthenticationMethod, packets.Err3NotAuthorized.Code}
	refuseIdentifier  = &refusal{packets.ErrClientIdentifierNotValid, packets.Err3ClientIdentifierNotValid.Code}
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
	c.rights = rights{client: client, local: c.isLocal(), all: c.listener.bridge, access: &b.access}
	if c.listener.bridge {
		return nil
	}
	if pk.Properties.AuthenticationMethod != "" {
		return refuseMethod // MQTT 5, 4.12
	}
	if strings.HasPrefix(client, bridgePrefix) || len(client) > longestClientID {
		return refuseIdentifier
	}
	if b.outside != nil && client == b.outside.membership.ClientID {
		return refuseItself // else each message would come back for ever
	}
	if c.visitor != nil {
		c.rights.user, c.rights.stamp, c.rights.readsOnly = c.visitor.user, b.PasswordStamp(c.visitor.user), true
		return nil
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
		if why := b.checkPassword(c.closed, hostOf(c.RemoteAddr()), passwords, user, string(pk.Connect.Password)); why != nil {
			return why
		}
		c.rights.user, c.rights.stamp = user, passwords.stamp(user)
	case !c.listener.anonymous:
		return refuseAnonymous
	}
	return nil
}

// checkPassword waits for a free hasher, unless the client is gone before, and
// then looks again whether the user has to wait after wrong guesses, since many
// may have come at once.
func (b *Broker) checkPassword(gone <-chan struct{}, address netip.Addr, passwords *Passwords, user, password string) *refusal {
	if b.attempts.Wait(address, user) > 0 {
		return refuseTooOften
	}
	timeout := time.NewTimer(b.cfg.ConnectTimeout)
	defer timeout.Stop()
	select {
	case b.hashers <- struct{}{}:
	case <-gone:
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
	b.noteRefusal(why, user, c.rights.client, c.RemoteAddr().String())
}

// noteRefusal counts a login that is refused, and logs it seldom.
func (b *Broker) noteRefusal(why *refusal, user, client, remote string) {
	b.count.unauthorized.Add(1)
	b.seldom[loginRefused].log(func(count int) {
		b.log.Warn("login refused", "user", user, "client", client, "remote", remote, "reason", why.v5.Reason, "count", count)
	})
}

// tell puts the refusal into a CONNACK.
func (r *refusal) tell(pk *packets.Packet, version byte) {
	pk.ReasonCode, pk.Properties.ReasonString = r.v5.Code, r.v5.Reason
	if version < 5 {
		pk.ReasonCode = r.v3
	}
}
