package main

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"checkbus/checks"
)

func text(p *string) func(string) error {
	return func(v string) error { *p = v; return nil }
}

// hostname takes an IPv6 address also in the brackets that it has in a URL.
func hostname(p *string) func(string) error {
	return func(v string) error {
		*p = v
		if inner, ok := strings.CutPrefix(v, "["); ok && strings.HasSuffix(inner, "]") {
			*p = strings.TrimSuffix(inner, "]")
		}
		return nil
	}
}

// request reads a path, which may have a query.
func request(p *url.URL) func(string) error {
	return func(v string) error {
		u, err := url.ParseRequestURI("/" + strings.TrimPrefix(v, "/"))
		if err != nil {
			return err
		}
		*p = *u
		return nil
	}
}

// boolean reads true or false; a switch without a value is true.
func boolean(p *bool) func(string) error {
	return func(v string) (err error) { *p, err = strconv.ParseBool(v); return err }
}

func number(p *int, low, high int) func(string) error {
	return func(v string) error {
		n, err := strconv.Atoi(v)
		if err != nil || n < low || n > high {
			return fmt.Errorf("not a whole number from %d to %d", low, high)
		}
		*p = n
		return nil
	}
}

func choice(p *string, among ...string) func(string) error {
	return func(v string) error {
		if !slices.Contains(among, v) {
			return fmt.Errorf("none of %s", strings.Join(among, ", "))
		}
		*p = v
		return nil
	}
}

func span(p *time.Duration) func(string) error {
	return func(v string) (err error) { *p, err = parseSpan(v); return err }
}

func keepalive(p *time.Duration) func(string) error {
	return func(v string) error {
		if v == "0" {
			*p = 0
			return nil
		}
		d, err := parseSpan(v)
		if err == nil && (d%time.Second != 0 || d > 65535*time.Second) {
			err = errors.New("not a number of whole seconds up to 65535")
		}
		*p = d
		return err
	}
}

func protocol(p *byte) func(string) error {
	return func(v string) error {
		level, ok := map[string]byte{"3.1.1": 4, "5": 5}[v]
		if !ok {
			return errors.New("neither 3.1.1 nor 5")
		}
		*p = level
		return nil
	}
}

func qos(p *byte) func(string) error {
	return func(v string) error {
		var n int
		err := number(&n, 0, 2)(v)
		*p = byte(n)
		return err
	}
}

func topic(p *string) func(string) error {
	return func(v string) error {
		if v == "" || len(v) > 65535 || strings.ContainsRune(v, 0) {
			return errors.New("no topic: 1 to 65535 bytes without NUL")
		}
		*p = v
		return nil
	}
}

func path(text *string, p *jsonPath) func(string) error {
	return func(v string) (err error) { *text = v; *p, err = parseJSONPath(v); return err }
}

func state(p *checks.State) func(string) error {
	return func(v string) error {
		for s := checks.OK; s <= checks.Unknown; s++ {
			if strings.EqualFold(v, s.String()) {
				*p = s
				return nil
			}
		}
		return errors.New("none of ok, warning, critical, unknown")
	}
}
