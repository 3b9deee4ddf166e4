package main

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"

	"checkbus/internal/durable"
)

// validIdentity is what a gateway may be called in the paths of messages.
var validIdentity = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// identity returns the gateway's name, by which it knows messages that come
// back to it over other gateways. It is made up at the first start, and kept in
// the file "identity" in dir: a copy of dir that runs as another gateway needs
// another one.
func identity(dir string) (string, error) {
	path := filepath.Join(dir, "identity")
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		var id [8]byte
		_, _ = rand.Read(id[:]) // never fails
		text = []byte(hex.EncodeToString(id[:]))
		err = durable.WriteFile(path, text, 0o600)
	}
	if err != nil {
		return "", fmt.Errorf("data_dir: %w", err)
	}
	if !validIdentity.Match(text) {
		return "", fmt.Errorf("data_dir: %s is damaged; remove it, and a new one is made", path)
	}
	return string(text), nil
}
