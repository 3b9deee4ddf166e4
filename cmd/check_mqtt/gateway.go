package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"checkbus/checks"
)

// Where the gateway publishes what became of a result, and how its cores are.
const (
	stateRoot    = "checkbus/state"
	rejectedRoot = "checkbus/rejected"
	coreRoot     = "$SYS/gateway/core"
	statusTopic  = "checkbus/status"
)

// statusPatience is how long a gateway may take to send its retained status,
// where one may read that; a quarter of the time that is left, at most.
const statusPatience = 500 * time.Millisecond

// A verdict is what the gateway published about a result: the state of its
// object, or a rejection.
type verdict struct {
	State  string `json:"state"`
	Type   string `json:"state_type"`
	Reason string `json:"reason"`
	Origin string `json:"origin"` // who judged: a core, or the gateway without one
	Core   string `json:"core"`   // of a rejection: the core; "" for the gateway
}

// A delivery is a result on its way, and what was heard of it.
type delivery struct {
	object checks.Object
	core   string // that is to have it; "" for any
	token  string // in its text, and so in what is said of it
	state  *verdict
	others []string           // who told its state and is not core
	no     map[string]verdict // rejections, by core
	cores  map[string]bool    // whether each core of the gateway is up, by $SYS
	knows  bool               // all cores are in cores
}

// gateway publishes a result as any host would, and waits until the gateway
// publishes exactly that result as the object's state.
func gateway(ctx context.Context, p *probe) (finding, error) {
	c, err := p.open(ctx, p.id, nil)
	if err != nil {
		return finding{}, err
	}
	defer c.close()
	d := &delivery{object: p.object, core: p.core, token: random(8), no: map[string]verdict{}, cores: map[string]bool{}}
	c.onMessage = d.take
	p.phases.enter("subscribe")
	if err := p.follow(ctx, c, d); err != nil {
		return finding{}, err
	}
	p.phases.enter("publish")
	sent := time.Now()
	var refused *refusal
	err = c.publish(ctx, message{topic: d.object.Topic(p.root), payload: d.result(), qos: 1})
	switch {
	case errors.As(err, &refused): // MQTT 5 says it with the acknowledgement
		d.no[""] = verdict{Reason: cmp.Or(refused.reason, refused.text)}
	case err != nil:
		return finding{}, err
	}
	acknowledged := time.Since(sent)
	p.phases.enter("state")
	err = c.listen(ctx, d.decided)
	p.phases.end()
	switch {
	case err != nil:
		return finding{}, err
	case d.state != nil:
		return p.arrived(d, acknowledged, time.Since(sent)), nil
	case d.refused():
		return d.rejected(), nil
	}
	return finding{}, stall{ctx.Err(), d.suspicion()}
}

// follow subscribes to what the gateway says of the object and of the cores.
// The latter a broker may refuse. The gateway's status, which is retained as well,
// comes behind that of its cores: then all of them are known.
func (p *probe) follow(ctx context.Context, c *client, d *delivery) error {
	err := c.subscribe(ctx, 1, d.object.Topic(stateRoot), rejectedRoot+"/"+checks.EncodeLevel(p.id.clientID))
	if err != nil {
		return err
	}
	err = c.subscribe(ctx, 1, coreRoot+"/+/up", statusTopic)
	if refused := new(refusal); err == nil || errors.As(err, &refused) {
		patience := statusPatience
		if end, ok := ctx.Deadline(); ok {
			patience = min(patience, time.Until(end)/4)
		}
		waiting, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		return c.listen(waiting, func() bool { return d.knows || err != nil })
	}
	return err
}

// result is an OK that nobody could take for another.
func (d *delivery) result() []byte {
	return fmt.Appendf(nil, `{"exit_code":0,"reason":"check_mqtt gateway test %s"}`, d.token)
}

// take notes what m says of the result.
func (d *delivery) take(m message) {
	if name, ok := strings.CutPrefix(m.topic, coreRoot+"/"); ok {
		d.cores[strings.TrimSuffix(name, "/up")] = string(m.payload) == "1"
		return
	}
	if m.topic == statusTopic {
		d.knows = true
		return
	}
	var v verdict
	if !bytes.Contains(m.payload, []byte(d.token)) || json.Unmarshal(m.payload, &v) != nil {
		return // it is about another
	}
	switch {
	case strings.HasPrefix(m.topic, rejectedRoot+"/"):
		if d.core == "" || v.Core == "" || d.core == v.Core {
			d.no[v.Core] = v
		}
	case d.core == "" || d.core == v.Origin:
		d.state = &v
	default:
		d.others = append(d.others, v.Origin)
	}
}

// decided reports whether nothing more is to be waited for.
func (d *delivery) decided() bool { return d.state != nil || d.refused() }

// refused reports whether the gateway, or each core that might have taken the
// result, has rejected it. Where $SYS names no cores, there is one.
func (d *delivery) refused() bool {
	_, byGateway := d.no[""]
	return byGateway || len(d.no) > 0 && (d.core != "" || len(d.no) >= len(d.cores))
}

func (d *delivery) rejected() finding {
	var reasons []string
	for _, core := range slices.Sorted(maps.Keys(d.no)) {
		by := "rejected: "
		if core != "" {
			by = "rejected by " + core + ": "
		}
		reasons = append(reasons, by+strings.TrimPrefix(d.no[core].Reason, "rejected: "))
	}
	text := fmt.Sprintf("the result for %s was %s", d.object, strings.Join(reasons, ", "))
	return finding{Output: checks.Output{State: checks.Critical, Text: text}}
}

// suspicion says why neither a state nor a rejection may have come.
func (d *delivery) suspicion() string {
	var down []string
	for _, core := range slices.Sorted(maps.Keys(d.cores)) {
		if _, rejected := d.no[core]; !rejected && !d.cores[core] && (d.core == "" || d.core == core) {
			down = append(down, core)
		}
	}
	_, has := d.cores[d.core]
	switch {
	case len(down) > 0:
		return "the gateway cannot reach " + strings.Join(down, " and ") + ", and keeps the result for it"
	case d.core != "" && len(d.cores) > 0 && !has:
		return "the gateway hands nothing to " + d.core
	case len(d.others) > 0:
		return fmt.Sprintf("only %s told the state, not %s", d.others[0], d.core)
	case len(d.cores) > 0:
		return fmt.Sprintf("the core is up, and did not tell of the result: it may take no passive results for %s", d.object)
	}
	return "the gateway published neither a state nor a rejection"
}

func (p *probe) arrived(d *delivery, acknowledged, took time.Duration) finding {
	v := d.state
	text := fmt.Sprintf("the result for %s came through in %s: %s %s by %s", d.object, showSpan(took), v.State, v.Type, v.Origin)
	return found(text, p.limited(seconds("through", took)), seconds("acknowledged", acknowledged)).
		with("value", fmt.Sprintf("%.6f", took.Seconds()))
}
