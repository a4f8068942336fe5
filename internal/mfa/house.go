package mfa

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// guarded returns the ARN of the guard's resource that the call names, or "". A
// name is one of the call's service, an ARN may be of another: who maps a queue to
// a function asks Lambda.
func (h House) guarded(c *Change) string {
	arn, _ := h.named(c)
	return arn
}

// named is guarded with the name or ARN by which the call names the resource.
func (h House) named(c *Change) (arn, name string) {
	for _, arn := range h.Guard {
		if strings.Count(arn, ":") < 5 {
			continue
		}
		of := strings.Split(arn, ":")[2]
		i := slices.IndexFunc(c.Resources, func(named string) bool {
			return (of == c.Service || strings.HasPrefix(named, "arn:")) && names(arn, named)
		})
		if i >= 0 {
			return arn, c.Resources[i]
		}
	}
	return "", ""
}

// names reports whether a request parameter means the resource: by its ARN or
// that of a part of it (a version, an index, a subscription), by its name, by an
// ARN or a queue's URL that is cut short in front, by a function's name with a
// version, or, for a schedule, by its group. A resource whose ARN ends in * is
// every one whose name begins so.
func names(arn, parameter string) bool {
	arn = strings.Replace(strings.TrimSuffix(arn, "/*"), ":schedule-group/", ":schedule/", 1)
	parameter = strings.Replace(parameter, ":schedule-group/", ":schedule/", 1)
	if start, many := strings.CutSuffix(arn, "*"); many {
		resource := strings.SplitN(start, ":", 6)[5]
		return strings.HasPrefix(parameter, start) || strings.HasPrefix(parameter, resource[strings.IndexAny(resource, ":/")+1:])
	}
	fields := strings.SplitN(arn, ":", 6)
	service, account, resource := fields[2], fields[4], fields[5]
	endsIn := func(name string) bool {
		return name != "" && (strings.HasSuffix(arn, ":"+name) || strings.HasSuffix(arn, "/"+name))
	}
	switch {
	case parameter == arn, strings.HasPrefix(parameter, arn+":"), strings.HasPrefix(parameter, arn+"/"):
		return true
	case strings.HasPrefix(parameter, "arn:"):
		return false
	case service == "sqs" && strings.HasPrefix(parameter, "https://"):
		return strings.HasSuffix(parameter, "/"+account+"/"+resource)
	case service == "lambda" && endsIn(parameter[:max(strings.LastIndexByte(parameter, ':'), 0)]):
		return true
	case service == "scheduler":
		_, id, _ := strings.Cut(resource, "/")
		group, _, _ := strings.Cut(id, "/")
		return parameter == group || endsIn(parameter)
	default:
		return endsIn(parameter)
	}
}

// own reports whether the actor is one of Relatch's own functions.
func (h House) own(a Actor) bool { return slices.ContainsFunc(h.OwnRoles, a.Is) }

// guard decides about a call by which somebody else touched Relatch's own resources.
func (l *look) guard() Decision {
	severity := Critical
	if l.change.Actor.Is(l.House.DeploymentRole) {
		severity = Info
		if in := l.Standing.incident(l.Standing.Journal); in != nil {
			severity = in.Severity // a deployment does not quiet what somebody else did
		}
	}
	l.raise(GuardTampered, severity, l.Standing.Journal)
	d := l.decision(Alerts, GuardTouched)
	on, named := l.House.named(&l.change)
	if strings.HasSuffix(on, "*") { // one of many
		on = named
	}
	d.Problem = l.change.EventName + " on " + on
	return d
}

// Journal names the journal that a change belongs to.
func (h House) Journal(c Change) string {
	switch {
	case c.Kind == GuardChanged:
		return GuardJournal(h.guarded(&c))
	case c.poolWide(), c.Sub == "" && c.Pool != "":
		return PoolJournal(c.Pool)
	case c.Sub == "":
		return PolicyJournal
	default:
		return UserJournal(c.Pool, c.Sub)
	}
}

// lacks says in what the pool now is weaker than it was.
func (was Pool) lacks(now Pool) []string {
	var out []string
	if now.Mode.strength() < was.Mode.strength() {
		out = append(out, fmt.Sprintf("MFA is %s, it was %s", now.Mode, was.Mode))
	}
	for _, f := range Without(was.Factors, now.Factors) {
		out = append(out, fmt.Sprintf("%s is no longer allowed", f))
	}
	if was.PreToken && !now.PreToken {
		out = append(out, "the pre token generation trigger is gone")
	}
	for _, role := range Without(was.Groups, now.Groups) {
		out = append(out, fmt.Sprintf("the group %s is gone", role))
	}
	return out
}

// pool decides about a pool: whether it is weaker than it was when it was last
// whole, and, after a sweep, whether its posture has to be told.
func (l *look) pool() Decision {
	swept := l.change.Kind == Swept
	was, seen := l.Standing.Pool, l.Pool
	if was == nil {
		l.next.Pool, was = &seen, &seen
		if !swept { // nobody knows how it was: at least as the product's documentation asks
			was = &Pool{Mode: ModeOptional, Factors: []Factor{TOTP}}
			l.next.Pool = was
		}
	}
	lacks := was.lacks(l.Pool)
	key := l.Standing.Journal
	reason := PoolWeaker
	switch in := l.Standing.incident(key); {
	case len(lacks) == 0:
		l.next.Pool, l.next.Lacks, l.next.NotedAt = l.better(*was), nil, time.Time{}
		if l.resolve(key) {
			reason = Resolved
		}
	case in != nil && slices.Equal(lacks, l.Standing.Lacks):
	case swept && in == nil && !slices.Equal(lacks, l.Standing.Lacks):
		l.next.Lacks, l.next.NotedAt = lacks, l.now // a delivery may be on its way
	case swept && in == nil && l.now.Sub(l.Standing.NotedAt) < NotedFor:
	default:
		l.next.Lacks, l.next.NotedAt = lacks, time.Time{}
		l.raise(PoolWeakened, Critical, key)
	}
	if swept {
		l.next.Swept = Union(l.next.Swept, l.policy.RequiredRoles)
		l.posture()
		if len(l.alerts) > 0 && reason != Resolved && len(lacks) == 0 {
			reason = PostureCounted
		}
	}
	d := l.decision(Alerts, reason)
	d.Problem = strings.Join(lacks, "; ")
	if len(l.alerts) == 0 {
		d = l.ignore(NotRequired)
	}
	if !l.next.NotedAt.IsZero() {
		d.LookAt = l.next.NotedAt.Add(NotedFor)
	}
	if swept && !slices.Equal(l.Listed, l.next.Count) {
		d.RetellAt = l.next.Told.Add(CriticalAfter)
	}
	return d
}

// better is the pool as it must stay: what it was and what has been added.
func (l *look) better(was Pool) *Pool {
	if slices.Equal(was.Factors, l.Pool.Factors) && was.Mode == l.Pool.Mode && was.PreToken == l.Pool.PreToken && slices.Equal(was.Groups, l.Pool.Groups) {
		return l.next.Pool
	}
	seen := l.Pool // a copy: a pointer into the look would put every look on the heap
	return &seen
}

// posture keeps the one incident per pool about the users who were unprotected
// when Relatch first looked. It never pages.
func (l *look) posture() {
	key := "posture/" + string(l.change.Pool)
	n, told := len(l.Listed), l.Standing.incident(key) != nil
	switch {
	case n == 0 && told:
		l.resolve(key)
	case n == 0:
		return
	case told && (slices.Equal(l.Listed, l.Standing.Count) || l.now.Sub(l.Standing.Told) < CriticalAfter):
		return
	default:
		l.raise(PostureGap, Warning, key)
	}
	l.next.Count, l.next.Told = l.Listed, l.now
}

// readPolicy decides what a policy record read anew means. What holds from now
// on is the caller's to keep: the new policy if it is good, else the last good one.
func (l *look) readPolicy(r Reading) Decision {
	d := Decision{}
	in := l.Standing.incident(PolicyJournal)
	if r.Err != nil {
		d.Problem = strings.ReplaceAll(r.Err.Error(), "\n", "; ")
		switch {
		case in == nil:
			l.raise(PolicyInvalid, Warning, PolicyJournal)
		case in.Kind != PolicyInvalid: // it was weakened before, which is no less loud now
			l.raise(PolicyInvalid, in.Severity, PolicyJournal)
		}
	} else {
		if in != nil && in.Kind == PolicyInvalid {
			l.resolve(PolicyJournal)
		}
		if last, err := ParsePolicy(l.Standing.Policy); err == nil { // else there was none
			if weaker := r.Policy.Weaker(last); len(weaker) > 0 {
				d.Problem = strings.Join(weaker, "; ")
				l.raise(PolicyWeakened, Critical, PolicyJournal)
			}
		}
		l.next.Policy = r.Raw
	}
	d.Verdict, d.Reason = Alerts, PolicyRead
	if len(l.alerts) == 0 {
		d.Verdict, d.Reason = Ignores, NotRequired
	}
	d.Standing, d.Alerts = l.next, l.alerts
	return d
}
