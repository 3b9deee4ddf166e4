package broker

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"checkbus/internal/durable"
)

// A membership is what the gateway must remember of its session with an outside
// broker, which cannot be asked: by what identifier it is known there, and to
// what it is subscribed.
type membership struct {
	ClientID string `json:"client_id"`
	Filter   string `json:"filter"` // "" before the first subscription
}

func membershipFile(dir string) string { return filepath.Join(dir, "subscribe.json") }

// readMembership reads what is remembered in dir, or begins anew. id is the
// client identifier, where it is set; else one is made up and remembered at
// once.
func readMembership(dir, id string) (membership, error) {
	var m membership
	text, err := os.ReadFile(membershipFile(dir))
	if err == nil {
		if err = json.Unmarshal(text, &m); err != nil {
			err = fmt.Errorf("%s: %w", membershipFile(dir), err)
		}
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return m, err
	}
	if id != "" && id != m.ClientID {
		return membership{ClientID: id}, nil
	}
	if m.ClientID != "" {
		return m, nil
	}
	unique := make([]byte, 7)
	_, _ = rand.Read(unique)                                          // it never fails
	m = membership{ClientID: "checkbus" + hex.EncodeToString(unique)} // 22 letters and digits (MQTT 3.1.1, 3.1.3.1)
	return m, m.save(dir)
}

// save makes m what is remembered in dir.
func (m membership) save(dir string) error {
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return durable.WriteFile(membershipFile(dir), append(text, '\n'), 0o600)
}
