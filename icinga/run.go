package icinga

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// maxWait is the longest wait between two tries to reach Icinga.
const maxWait = 2 * time.Second

// Why a session ends although Icinga answers.
var (
	errRestarted = errors.New("icinga was reloaded or restarted")
	errFeedEnded = errors.New("icinga ended the event stream")
	errPreferred = errors.New("a preferred icinga is back")
)

// Run follows Icinga until ctx ends: which worker process answers, and which
// objects there are. Of several Icingas it uses the first that answers, and
// goes back to a preferred one when that has been well for a while.
func (s *Sink) Run(ctx context.Context) error {
	defer s.close()
	o := outageLog{sink: s, since: time.Now()}
	active, tried := 0, time.Now()
	for ctx.Err() == nil {
		began := time.Now()
		ready, err := s.attend(ctx, active, &o)
		if ctx.Err() != nil {
			break
		}
		if ready {
			o.since, tried = time.Now(), time.Now()
		}
		if time.Since(began) > maxWait {
			o.wait = 0
		}
		switch {
		case errors.Is(err, errPreferred):
			active = 0
		case errors.Is(err, errRestarted), errors.Is(err, errFeedEnded):
		default:
			s.set(nil, err)
			o.failed(s.cores[active].url, err)
			if time.Since(tried) >= s.times.failover {
				active, tried = (active+1)%len(s.cores), time.Now()
			}
		}
		o.sleep(ctx, err)
	}
	s.set(nil, context.Canceled)
	return nil
}

// close waits for Submit, which lasts no longer than one request once there is
// no session.
func (s *Sink) close() {
	s.sending <- struct{}{}
	defer s.release()
	for _, c := range s.cores {
		c.control.close()
		c.feed.close()
		c.states.close()
		c.glances.close()
		for _, l := range c.lanes {
			l.link.close()
		}
	}
}

// closeIdle closes the lanes' idle connections, unless results are being
// handed over: then it comes again.
func (s *Sink) closeIdle() {
	select {
	case s.sending <- struct{}{}:
		defer s.release()
	default:
		return
	}
	for _, c := range s.cores {
		for _, l := range c.lanes {
			l.link.closeIdle()
		}
	}
}

// attend prepares a session with one Icinga and keeps it for as long as the
// same worker answers. It reports whether there was a session.
func (s *Sink) attend(ctx context.Context, active int, o *outageLog) (ready bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c := s.cores[active]
	if err := s.account.load(); err != nil {
		return false, err
	}
	worker, err := c.control.process(ctx)
	if err != nil {
		return false, err
	}
	s.set(nil, nil)
	feed, err := s.subscribe(ctx, c)
	if err != nil {
		return false, err
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = s.listen(feed) // it always ends with an error, and Run looks why
	}()
	defer func() {
		cancel()
		feed.Close()
		<-ended
	}()
	if err := s.resync(ctx, c); err != nil {
		return false, err
	}
	o.ended(c.url)
	s.set(&session{core: c, over: make(chan struct{})}, nil)
	err = s.watch(ctx, active, worker, ended)
	s.set(nil, nil)
	return true, err
}

// watch returns when another worker answers, or none, or the event stream has
// ended, or a preferred Icinga is well again.
func (s *Sink) watch(ctx context.Context, active int, worker process, ended <-chan struct{}) error {
	tick := time.NewTicker(s.times.look)
	defer tick.Stop()
	retry := time.NewTicker(s.times.retry)
	defer retry.Stop()
	c := s.cores[active]
	preferred := preference{sink: s}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ended:
			return errFeedEnded
		case <-retry.C:
			if err := s.retryIgnored(ctx, c); err != nil {
				return err
			}
		case <-s.looking:
		case <-tick.C:
			s.closeIdle()
			if active > 0 && preferred.isWell(ctx) {
				return errPreferred
			}
		}
		now, err := c.control.process(ctx)
		if err != nil {
			return err
		}
		if now != worker {
			return errRestarted
		}
	}
}

// A preference watches the first Icinga while another is in use.
type preference struct {
	sink  *Sink
	asked time.Time
	since time.Time // when it began to answer; zero while it does not
}

// isWell reports whether the first Icinga has answered for a while. It asks
// now and then, and does not wait long: the one in use is to be watched.
func (p *preference) isWell(ctx context.Context) bool {
	times := p.sink.times
	if time.Since(p.asked) < times.settle/6 {
		return false
	}
	p.asked = time.Now()
	ctx, cancel := context.WithTimeout(ctx, times.look)
	defer cancel()
	if _, err := p.sink.cores[0].control.process(ctx); err != nil {
		p.since = time.Time{}
		return false
	}
	if p.since.IsZero() {
		p.since = p.asked
	}
	return time.Since(p.since) >= times.settle
}

// An outageLog says once that Icinga is gone and once that it is back.
type outageLog struct {
	sink  *Sink
	since time.Time
	said  bool
	wait  time.Duration
}

func (o *outageLog) failed(url string, err error) {
	wrongAccount := isStatus(err, http.StatusUnauthorized) || isStatus(err, http.StatusForbidden)
	if !o.said && (wrongAccount || time.Since(o.since) >= o.sink.times.notice) {
		o.sink.log.Warn("core unreachable", "url", url, "err", err)
		o.said = true
	}
}

func (o *outageLog) ended(url string) {
	if o.said {
		o.sink.log.Info("core back", "url", url)
	}
	o.said = false
}

// sleep waits before the next try: 20 ms, then twice as long each time, at most
// 2 s; longer with a wrong account, which Icinga may count.
func (o *outageLog) sleep(ctx context.Context, err error) {
	o.wait = min(max(2*o.wait, 20*time.Millisecond), maxWait)
	wait := o.wait
	if isStatus(err, http.StatusUnauthorized) {
		wait = o.sink.times.slow
	}
	select {
	case <-ctx.Done():
	case <-time.After(wait):
	}
}
