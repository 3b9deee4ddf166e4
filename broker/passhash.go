package broker

import (
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
)

// What a hash may cost. A login at a limit takes about half a second.
const (
	maxIterations  = 1_000_000
	maxArgonMemory = 128 << 10 // KiB, for each login under way
	maxArgonTime   = 16
	maxArgonLanes  = 16
)

// newIterations is the cost of the hashes that SetPassword writes: about 4 ms
// of a processor, a hundred times that of Mosquitto 2.0's own. It is no more
// because whole sites log in at once after a restart.
const newIterations = 10_000

// Sizes in bytes. Mosquitto 2.0 takes salts of 12 bytes only, 2.1 writes 64.
const (
	newSalt     = 12
	longSalt    = 64
	sha512Sum   = sha512.Size
	leastSalt   = 8 // of argon2id; RFC 9106, section 3.1
	leastDigest = 16
	mostDigest  = 64
)

// A passwordHash is a hashed password in one of the forms that mosquitto_passwd
// writes:
//
//	$6$SALT$SUM                            SHA512(password + salt)
//	$7$ITERATIONS$SALT$SUM                 PBKDF2 with HMAC-SHA512
//	$argon2id$v=19$m=M,t=T,p=P$SALT$SUM    argon2id (Mosquitto 2.1)
//
// Salt and sum are base64, without padding in the last form.
type passwordHash struct {
	iterations int       // of PBKDF2
	argon      argonCost // of argon2id
	salt, sum  []byte
}

// An argonCost holds the parameters of argon2id; its zero value is another form.
type argonCost struct {
	memory, time uint32 // KiB, passes
	lanes        uint8
}

// newPasswordHash hashes password with a fresh salt, in a form that Mosquitto
// 1.6 and later read.
func newPasswordHash(password string) passwordHash {
	h := passwordHash{iterations: newIterations, salt: make([]byte, newSalt)}
	rand.Read(h.salt) // never fails
	h.sum = h.derive(password, sha512Sum)
	return h
}

// String is h as a password file has it; h must come from newPasswordHash.
func (h passwordHash) String() string {
	b64 := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("$7$%d$%s$%s", h.iterations, b64(h.salt), b64(h.sum))
}

// matches reports whether h was made from password, in a time that does not
// tell how much of it is right.
func (h passwordHash) matches(password string) bool {
	return subtle.ConstantTimeCompare(h.derive(password, len(h.sum)), h.sum) == 1
}

func (h passwordHash) derive(password string, size int) []byte {
	switch {
	case h.argon.memory > 0:
		return argon2.IDKey([]byte(password), h.salt, h.argon.time, h.argon.memory, h.argon.lanes, uint32(size))
	case h.iterations > 0:
		sum, err := pbkdf2.Key(sha512.New, password, h.salt, h.iterations, size)
		if err != nil {
			return nil // under FIPS 140 rules only, which forbid short salts
		}
		return sum
	}
	sum := sha512.Sum512(append([]byte(password), h.salt...))
	return sum[:]
}

// What can be wrong with a hash. Nothing of it is told: it may be a password.
var (
	errNoHash    = errors.New("the password is not hashed as mosquitto_passwd does it (-U hashes plain passwords)")
	errHashParts = errors.New("the password's hash has too few or too many parts")
	errHashText  = errors.New("the password's hash is damaged: salt and sum must be base64 of the right length")
)

func parsePasswordHash(s string) (passwordHash, error) {
	parts := strings.Split(s, "$")
	if len(parts) < 2 || parts[0] != "" {
		return passwordHash{}, errNoHash
	}
	form, parts := parts[1], parts[2:]
	want, known := map[string]int{"6": 2, "7": 3, "argon2id": 4}[form]
	switch {
	case !known:
		return passwordHash{}, errNoHash
	case len(parts) != want:
		return passwordHash{}, errHashParts
	}

	var h passwordHash
	var err error
	encoding := base64.StdEncoding.Strict()
	switch form {
	case "7":
		h.iterations, err = parseIterations(parts[0])
	case "argon2id":
		h.argon, err = parseArgonCost(parts[0], parts[1])
		encoding = base64.RawStdEncoding.Strict()
	}
	if err != nil {
		return passwordHash{}, err
	}
	h.salt, err = encoding.DecodeString(parts[want-2])
	if err == nil {
		h.sum, err = encoding.DecodeString(parts[want-1])
	}
	if err != nil || !h.sound() {
		return passwordHash{}, errHashText
	}
	return h, nil
}

// sound reports whether salt and sum have lengths that Mosquitto takes.
func (h passwordHash) sound() bool {
	if h.argon.memory > 0 {
		return len(h.salt) >= leastSalt && len(h.salt) <= longSalt &&
			len(h.sum) >= leastDigest && len(h.sum) <= mostDigest
	}
	return (len(h.salt) == newSalt || len(h.salt) == longSalt) && len(h.sum) == sha512Sum
}

func parseIterations(s string) (int, error) {
	n, err := strconv.ParseUint(s, 10, 31)
	if err != nil || n < 1 || n > maxIterations {
		return 0, fmt.Errorf("the password's hash takes 1 to %d iterations", maxIterations)
	}
	return int(n), nil
}

func parseArgonCost(version, cost string) (argonCost, error) {
	if version != "v="+strconv.Itoa(argon2.Version) {
		return argonCost{}, fmt.Errorf("the password's hash is not of argon2 version %d", argon2.Version)
	}
	wrong := fmt.Errorf("the password's hash takes m=8 to %d KiB for each of p=1 to %d lanes, and t=1 to %d passes",
		maxArgonMemory, maxArgonLanes, maxArgonTime)
	values := strings.Split(cost, ",")
	if len(values) != 3 {
		return argonCost{}, wrong
	}
	var n [3]uint64
	for i, prefix := range []string{"m=", "t=", "p="} {
		digits, ok := strings.CutPrefix(values[i], prefix)
		var err error
		if n[i], err = strconv.ParseUint(digits, 10, 31); err != nil || !ok {
			return argonCost{}, wrong
		}
	}
	memory, time, lanes := n[0], n[1], n[2]
	if lanes < 1 || lanes > maxArgonLanes || time < 1 || time > maxArgonTime || memory < 8*lanes || memory > maxArgonMemory {
		return argonCost{}, wrong
	}
	return argonCost{uint32(memory), uint32(time), uint8(lanes)}, nil
}
