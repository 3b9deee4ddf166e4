package icinga

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// An outcome is what became of one result.
type outcome int

const (
	taken        outcome = iota
	ignored              // a parent is unreachable: not stored
	stale                // Icinga holds a newer one
	absent               // no such object, or no right to see it
	refused              // the values are wrong, and stay so
	forbidden            // the object takes no passive results, or the account may not send them
	unauthorized         // the account is wrong
	unavailable          // this object cannot take results now
	outage               // nothing can be handed over now
)

// judge reads the answer to process-check-result, and says in words what it
// is unless the result was dealt with. The HTTP status alone misleads: what
// was done with the one object asked for stands in the body, and a 200 may
// mean that nothing was stored (lib/icinga/apiactions.cpp,
// lib/remote/actionshandler.cpp).
func judge(status int, body []byte) (outcome, string) {
	if isProcessed(body) {
		return taken, ""
	}
	var reply struct {
		Results *[]struct {
			Code   float64 `json:"code"`
			Status string  `json:"status"`
		} `json:"results"`
		Status string `json:"status"`
	}
	if json.Unmarshal(body, &reply) != nil || reply.Results == nil {
		return judgeRequest(status), fmt.Sprintf("icinga answered %d: %s", status, firstLine(reply.Status))
	}
	if len(*reply.Results) == 0 {
		if status == http.StatusInternalServerError {
			return refused, "icinga answered 500 without a result"
		}
		return judgeRequest(status), fmt.Sprintf("icinga answered %d without a result", status)
	}
	r := (*reply.Results)[0]
	text := fmt.Sprintf("icinga answered %d: %s", int(r.Code), firstLine(r.Status))
	switch code := int(r.Code); {
	case code == http.StatusOK && strings.HasPrefix(r.Status, "Ignoring"):
		return ignored, text
	case code == http.StatusOK:
		return taken, ""
	case code == http.StatusServiceUnavailable:
		return unavailable, text
	case code == http.StatusInternalServerError:
		return refused, text
	default:
		return judgeRequest(code), text
	}
}

// isProcessed recognises the usual answer as Icinga words it, without the
// labour of a JSON decoder. Of any other answer it says no.
func isProcessed(body []byte) bool {
	name, begins := bytes.CutPrefix(body, []byte(`{"results":[{"code":200,"status":"Successfully processed check result for object '`))
	name, ends := bytes.CutSuffix(name, []byte(`'."}]}`))
	if !begins || !ends {
		return false
	}
	for _, c := range name {
		if c < ' ' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// judgeRequest judges a code that concerns the request rather than the object.
func judgeRequest(code int) outcome {
	switch code {
	case http.StatusUnauthorized:
		return unauthorized
	case http.StatusForbidden:
		return forbidden
	case http.StatusNotFound:
		return absent
	case http.StatusConflict:
		return stale
	case http.StatusRequestTimeout, http.StatusTooManyRequests:
		return outage
	}
	if code >= 400 && code < 500 {
		return refused
	}
	return outage
}

// firstLine keeps an answer's text short enough for a log and a publisher:
// Icinga adds where in its source an exception arose.
func firstLine(s string) string {
	const most = 200
	s, _, _ = strings.Cut(s, "\n")
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
