package broker

import (
	"bytes"
	"errors"
	"fmt"
	"hash/maphash"
	"os"
	"strings"
)

// Passwords are the users of a password file as mosquitto_passwd writes it. They
// do not change and may be used by many goroutines at once.
type Passwords struct {
	users map[string]passwordHash
	// decoys are checked in the place of users that there are not.
	decoys []passwordHash
	seed   maphash.Seed
}

// ReadPasswords reads a password file: lines of a user name, a colon and a
// hash, of which the last one counts for a name that comes twice, blank lines,
// and comments, whose # stands first. The error names the file and every line
// that is wrong, and tells nothing of any password. Mosquitto passes over wrong
// lines, so that their users cannot log in.
func ReadPasswords(path string) (*Passwords, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read passwords: %w", err)
	}
	return parsePasswords(path, data)
}

func parsePasswords(path string, data []byte) (*Passwords, error) {
	p := &Passwords{
		users: map[string]passwordHash{},
		seed:  maphash.MakeSeed(),
	}
	var errs []error
	n := 0
	for line := range bytes.Lines(data) {
		n++
		user, hash, err := parsePasswordLine(string(line))
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("%s:%d: %w", path, n, err))
		case user != "":
			p.users[user] = hash
			p.decoys = append(p.decoys, hash)
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	if len(p.decoys) == 0 {
		p.decoys = []passwordHash{newPasswordHash("")}
	}
	return p, nil
}

// parsePasswordLine returns no user for a line without one.
func parsePasswordLine(line string) (user string, hash passwordHash, err error) {
	name, rest, ok := splitPasswordLine(line)
	switch {
	case name == "" && !ok:
		return "", passwordHash{}, nil
	case !ok:
		return "", passwordHash{}, errors.New("there is no colon after the user name")
	case name == "":
		return "", passwordHash{}, errors.New("there is no user name before the colon")
	}
	hash, err = parsePasswordHash(rest)
	if err != nil {
		return "", passwordHash{}, fmt.Errorf("user %q: %w", name, err)
	}
	return name, hash, nil
}

// splitPasswordLine cuts a line as Mosquitto does: a third field is ignored. ok
// is false when there is no colon; then a comment and a blank line have no name.
func splitPasswordLine(line string) (name, hash string, ok bool) {
	if strings.HasPrefix(line, "#") {
		return "", "", false
	}
	name, hash, ok = strings.Cut(line, ":")
	hash, _, _ = strings.Cut(hash, ":")
	return strings.Trim(name, asciiSpace), strings.Trim(hash, asciiSpace), ok
}

// Check reports whether password is that of user. It takes as long for a user
// that is not in the file as for one of those that are, chosen by the name, so
// that the time does not tell which names there are.
func (p *Passwords) Check(user, password string) bool {
	hash, known := p.users[user]
	if !known {
		hash = p.decoys[maphash.String(p.seed, user)%uint64(len(p.decoys))]
	}
	return hash.matches(password) && known
}

// stamp changes when the user is given a password, and is empty for a user that
// is not in the file.
func (p *Passwords) stamp(user string) string {
	hash := p.users[user]
	return string(hash.salt) + string(hash.sum)
}
