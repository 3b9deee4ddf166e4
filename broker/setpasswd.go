package broker

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"unicode"
	"unicode/utf8"

	"checkbus/internal/durable"
)

// maxString is the longest user name and password in MQTT, in bytes.
const maxString = 65535

// SetPassword gives user a password in the password file at path, which is
// created, readable to its owner alone, when it is missing. The user's first
// line is replaced, further ones are removed; a new user is added at the end.
// All else stays as it is, the file's mode and owner included. The file is
// never half written, and calls at the same time, in this process and in
// others, do not lose each other's changes. Mosquitto 1.6 and later read it.
func SetPassword(path, user, password string) error {
	if err := checkUser(user); err != nil {
		return err
	}
	switch {
	case password == "":
		return errors.New("the password is empty")
	case len(password) > maxString:
		return fmt.Errorf("the password has %d bytes; the most is %d", len(password), maxString)
	case strings.Contains(password, "\x00"):
		return errors.New("the password holds a NUL byte")
	}
	line := user + ":" + newPasswordHash(password).String() + "\n"
	return editPasswords(path, func(lines []string) ([]string, error) {
		kept, first := withoutUser(lines, user)
		if first < 0 {
			first = len(kept)
		}
		if first > 0 && !strings.HasSuffix(kept[first-1], "\n") {
			kept[first-1] += "\n"
		}
		return slices.Insert(kept, first, line), nil
	})
}

// DeletePassword removes user from the password file at path, in the manner of
// SetPassword. It is an error when the user is not in it.
func DeletePassword(path, user string) error {
	return editPasswords(path, func(lines []string) ([]string, error) {
		kept, first := withoutUser(lines, user)
		if first < 0 {
			return nil, fmt.Errorf("there is no user %q in %s", user, path)
		}
		return kept, nil
	})
}

// checkUser refuses names that a password file cannot hold, or that nobody
// could tell apart.
func checkUser(user string) error {
	switch {
	case user == "":
		return errors.New("the user name is empty")
	case len(user) > maxString:
		return fmt.Errorf("the user name has %d bytes; the most is %d", len(user), maxString)
	case !utf8.ValidString(user):
		return fmt.Errorf("user name %q: not UTF-8", user)
	case strings.ContainsRune(user, ':'), strings.ContainsFunc(user, unicode.IsControl):
		return fmt.Errorf("user name %q: colons and control characters are not possible", user)
	case user[0] == '#':
		return fmt.Errorf("user name %q: a # would make it a comment", user)
	case strings.TrimSpace(user) != user:
		return fmt.Errorf("user name %q: spaces at its ends would be lost", user)
	}
	return nil
}

// withoutUser returns the lines that are not user's, and where among them the
// first of user's was, or -1.
func withoutUser(lines []string, user string) (kept []string, first int) {
	first = -1
	for _, line := range lines {
		if name, _, ok := splitPasswordLine(line); !ok || name != user {
			kept = append(kept, line)
		} else if first < 0 {
			first = len(kept)
		}
	}
	return kept, first
}

// editPasswords replaces the lines of the file at path, each with its newline,
// by what edit makes of them.
func editPasswords(path string, edit func(lines []string) ([]string, error)) error {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target // so that a link stays one
	}
	unlock, err := lockFor(path)
	if err != nil {
		return err
	}
	defer unlock()

	data, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read passwords: %w", err)
	}
	lines, err := edit(slices.Collect(strings.Lines(string(data))))
	if err != nil {
		return err
	}
	return replaceFile(path, strings.Join(lines, ""))
}

// lockFor keeps others from editing files in the directory of path.
func lockFor(path string) (unlock func(), err error) {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(dir.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(&fs.PathError{Op: "lock", Path: dir.Name(), Err: err}, dir.Close())
	}
	return func() { dir.Close() }, nil
}

// replaceFile writes a file with the mode and the owner that it had.
func replaceFile(path, text string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return durable.WriteFile(path, []byte(text), 0o600)
	case err != nil:
		return err
	}
	if err := durable.WriteFile(path, []byte(text), info.Mode().Perm()); err != nil {
		return err
	}
	if owner, ok := info.Sys().(*syscall.Stat_t); ok {
		if err := os.Chown(path, int(owner.Uid), int(owner.Gid)); err != nil {
			return fmt.Errorf("%s is written, but its owner is lost: %w", path, err)
		}
	}
	return nil
}
