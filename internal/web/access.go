package web

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// sessionTime is how long a browser need not send the password again. Not all
// send it with a WebSocket, and checking one is costly on purpose.
const sessionTime = 12 * time.Hour

// sessionCookie can be set over TLS only, and by this host alone (RFC 6265bis,
// 4.1.3.2).
const sessionCookie = "__Host-checkbus"

// enter finds out who asks; the user is "" on this machine. Where it is false
// the request is answered.
func (s *Server) enter(w http.ResponseWriter, r *http.Request) (user string, ok bool) {
	if s.local {
		if !s.isOurs(r.Host) {
			http.Error(w, "this server has another name; see web.address", http.StatusMisdirectedRequest)
			return "", false
		}
		return "", true
	}
	name, password, given := r.BasicAuth()
	if user, ok := s.session(r); ok && (!given || user == name) {
		return user, true
	}
	var wait time.Duration
	if given {
		from, _ := netip.ParseAddrPort(r.RemoteAddr)
		ok, wait = s.Users.CheckPassword(r.Context(), from.Addr(), name, password)
	}
	switch {
	case wait > 0:
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds()))))
		http.Error(w, "too many logins, try again later", http.StatusTooManyRequests)
	case !ok:
		w.Header().Set("WWW-Authenticate", `Basic realm="checkbus", charset="UTF-8"`)
		http.Error(w, "log in with a user name and password", http.StatusUnauthorized)
	default:
		s.beginSession(w, name)
	}
	return name, ok
}

// isOurs reports whether a Host header names this machine. Pages elsewhere can
// make their own names point here (DNS rebinding).
func (s *Server) isOurs(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.Trim(host, "[]")
	ip, _ := netip.ParseAddr(host)
	configured, _, _ := net.SplitHostPort(s.cfg.Address)
	return ip.IsLoopback() || strings.EqualFold(host, "localhost") || host != "" && strings.EqualFold(host, configured)
}

// session tells whose session a request belongs to. It ends with its time, with
// the user's password, and with this process.
func (s *Server) session(r *http.Request) (user string, ok bool) {
	cookie, err := r.Cookie(sessionCookie)
	if err != nil {
		return "", false
	}
	name, rest, _ := strings.Cut(cookie.Value, ".")
	ends, sum, _ := strings.Cut(rest, ".")
	raw, err := base64.RawURLEncoding.DecodeString(name)
	seconds, err2 := strconv.ParseInt(ends, 10, 64)
	if err != nil || err2 != nil || time.Now().Unix() >= seconds {
		return "", false
	}
	stamp := s.Users.PasswordStamp(string(raw))
	return string(raw), stamp != "" && hmac.Equal([]byte(sum), []byte(s.sign(name, ends, stamp)))
}

func (s *Server) beginSession(w http.ResponseWriter, user string) {
	name := base64.RawURLEncoding.EncodeToString([]byte(user))
	ends := strconv.FormatInt(time.Now().Add(sessionTime).Unix(), 10)
	http.SetCookie(w, &http.Cookie{
		Name: sessionCookie, Value: name + "." + ends + "." + s.sign(name, ends, s.Users.PasswordStamp(user)),
		Path: "/", MaxAge: int(sessionTime.Seconds()), Secure: true, HttpOnly: true, SameSite: http.SameSiteStrictMode,
	})
}

func (s *Server) sign(name, ends, stamp string) string {
	mac := hmac.New(sha256.New, s.key[:])
	fmt.Fprintf(mac, "%s.%s.%s", name, ends, stamp)
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}
