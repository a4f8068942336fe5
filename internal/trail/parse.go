// Package trail is the arrow "Parse": it turns the bytes of one CloudTrail
// delivery into an mfa.Change.
//
// It refuses to know what a change means: it reads what CloudTrail wrote, in
// all the wrappings that CloudTrail, EventBridge and the AWS CLI put around it.
package trail

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/stackflow/relatch/internal/mfa"
)

// MaxRecord is the largest delivery that is read, in bytes. EventBridge passes
// on at most 256 KB, and CloudTrail's own field limits add up to less than this.
const MaxRecord = 1 << 20

// Error says why a delivery could not be read. The delivery is evidence and
// must be kept.
type Error struct {
	EventID string // if the delivery has one that can be read
	Problem string // the field and what is wrong with it; may be empty beside Err
	Err     error
}

func (e *Error) Error() string {
	text := e.Problem
	if e.Err != nil {
		text = strings.TrimPrefix(text+": "+e.Err.Error(), ": ")
	}
	if e.EventID != "" {
		text = "event " + e.EventID + ": " + text
	}
	return strings.ToValidUTF8(text, "\ufffd") // it goes into records
}

func (e *Error) Unwrap() error { return e.Err }

// delivery has the fields of everything that can be around a record, and of the
// record itself, so that one pass finds out which it is.
type delivery struct {
	// An EventBridge envelope.
	Detail     jsontext.Value `json:"detail"`
	DetailType string         `json:"detail-type"`
	Source     string         `json:"source"`
	ReplayName string         `json:"replay-name"`
	// A row of "aws cloudtrail lookup-events".
	CloudTrailEvent jsontext.Value `json:"CloudTrailEvent"`
	RowID           string         `json:"EventId"`
	// A row of a CloudTrail Lake query for eventJson, which Athena spells eventjson;
	// and one of an Athena query for columns, which are in lower case.
	EventJSON      jsontext.Value `json:"eventJson"`
	EventJSONLower jsontext.Value `json:"eventjson"`
	EventNameLower string         `json:"eventname"`
	// A log file whose Records is no list; Split takes the others apart.
	Records jsontext.Value `json:"Records"`

	// other: an envelope around an event that is not CloudTrail's.
	other bool

	record
}

// record is what is read of a CloudTrail record. Values that CloudTrail may
// replace by a masking string, whatever their type, are read later.
type record struct {
	EventVersion        string         `json:"eventVersion"`
	UserIdentity        jsontext.Value `json:"userIdentity"`
	EventTime           string         `json:"eventTime"`
	EventSource         string         `json:"eventSource"`
	EventName           string         `json:"eventName"`
	Region              string         `json:"awsRegion"`
	SourceIP            string         `json:"sourceIPAddress"`
	UserAgent           string         `json:"userAgent"`
	ErrorCode           string         `json:"errorCode"`
	RequestParameters   jsontext.Value `json:"requestParameters"`
	ResponseElements    jsontext.Value `json:"responseElements"`
	AdditionalEventData jsontext.Value `json:"additionalEventData"`
	RequestID           string         `json:"requestID"`
	EventID             string         `json:"eventID"`
	EventType           string         `json:"eventType"`
	EventCategory       string         `json:"eventCategory"`
	ReadOnly            jsontext.Value `json:"readOnly"`
	Resources           jsontext.Value `json:"resources"`
	RecipientAccountID  string         `json:"recipientAccountId"`
	Addendum            jsontext.Value `json:"addendum"`
}

// maxID is the longest id that is taken, in bytes: ids become keys of the ledger.
const maxID = 256

const cognito = "cognito-idp"

// Parse reads one delivery: an EventBridge envelope with either CloudTrail
// detail-type, a bare record, or a row of lookup-events. An operation that is of
// no interest is a Change of kind mfa.NotRelevant, not an error. The error is
// always an *Error, and comes with the zero Change.
func Parse(raw []byte) (mfa.Change, error) {
	if len(raw) > MaxRecord {
		return mfa.Change{}, &Error{EventID: firstID(raw), Problem: fmt.Sprintf("the record has %d bytes; CloudTrail writes none over %d", len(raw), MaxRecord)}
	}
	d, err := unwrap(raw)
	if err != nil {
		return mfa.Change{}, err
	}
	c, err := d.change()
	if err != nil {
		return mfa.Change{}, &Error{EventID: cmp.Or(d.EventID, d.RowID), Problem: err.Error()}
	}
	return c, nil
}

// unwrap finds the record in whatever is around it.
func unwrap(raw []byte) (*delivery, error) {
	d := &delivery{}
	if err := object(raw, d); err != nil {
		return nil, &Error{EventID: firstID(raw), Problem: "not a CloudTrail record", Err: err}
	}
	inner, name := d.Detail, "detail"
	quoted := func(name string, value jsontext.Value) error {
		if kind := value.Kind(); kind != '"' {
			return &Error{EventID: d.RowID, Problem: name + ": want the record as a string, have " + kindName(kind)}
		}
		return nil
	}
	switch {
	case len(d.Records) > 0:
		return nil, &Error{Problem: "Records is " + kindName(d.Records.Kind()) + ", want a list of records"}
	case len(d.Detail) > 0 && d.EventName == "":
	case len(d.CloudTrailEvent) > 0 && d.EventName == "":
		if err := quoted("CloudTrailEvent", d.CloudTrailEvent); err != nil {
			return nil, err
		}
		inner, name = jsontext.Value(text(d.CloudTrailEvent)), "CloudTrailEvent"
	case len(d.EventJSON)+len(d.EventJSONLower) > 0 && d.EventName == "":
		value := cmp.Or(string(d.EventJSON), string(d.EventJSONLower))
		if err := quoted("eventJson", jsontext.Value(value)); err != nil {
			return nil, err
		}
		inner, name = jsontext.Value(text(jsontext.Value(value))), "eventJson"
	case d.EventNameLower != "" && d.EventName == "":
		return d, d.row(raw)
	case d.EventName == "" && d.RowID != "":
		return nil, &Error{EventID: d.RowID, Problem: "a row of lookup-events without CloudTrailEvent; ask for the whole output"}
	default:
		return d, nil
	}
	if d.DetailType != "" && !strings.HasSuffix(d.DetailType, " via CloudTrail") {
		d.other = true
		return d, nil
	}
	d.record = record{}
	if err := object(inner, &d.record); err != nil {
		return nil, &Error{EventID: cmp.Or(firstID(inner), d.RowID), Problem: name + " is no CloudTrail record", Err: err}
	}
	return d, nil
}

// row reads a row of columns. Those that hold objects hold them as text, as in
// the table that the CloudTrail console makes for Athena.
func (d *delivery) row(raw []byte) error {
	if err := Plain(json.Unmarshal(raw, &d.record, json.MatchCaseInsensitiveNames(true))); err != nil {
		return &Error{EventID: firstID(raw), Problem: "not a row of CloudTrail's columns", Err: err}
	}
	for _, v := range []*jsontext.Value{&d.UserIdentity, &d.RequestParameters, &d.ResponseElements, &d.AdditionalEventData, &d.ReadOnly, &d.Resources, &d.Addendum} {
		if inner := jsontext.Value(text(*v)); inner.IsValid() {
			*v = inner
		}
	}
	return nil
}

func object(raw []byte, into any) error {
	if kind := jsontext.Value(raw).Kind(); kind != '{' {
		if !jsontext.Value(raw).IsValid() {
			kind = jsontext.KindInvalid
		}
		return fmt.Errorf("want a JSON object, have %s", kindName(kind))
	}
	return discreet(json.Unmarshal(raw, into))
}

func kindName(k jsontext.Kind) string {
	switch k {
	case 'n':
		return "null"
	case 't', 'f':
		return "a boolean"
	case '"':
		return "a string"
	case '0':
		return "a number"
	case '[':
		return "a list"
	case '{':
		return "an object"
	default:
		return "no JSON"
	}
}

var idPattern = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`"[eE]vent(?:ID|Id)"\s*:\s*"([\w.:/-]{1,100})"`)
})

// firstID finds an event id in what cannot be read otherwise.
func firstID(raw []byte) string {
	if m := idPattern().FindSubmatch(raw[:min(len(raw), MaxRecord)]); m != nil {
		return string(m[1])
	}
	return ""
}

func (d *delivery) change() (mfa.Change, error) {
	source, known := strings.CutSuffix(d.EventSource, ".amazonaws.com")
	if d.EventSource == "" {
		source, known = strings.CutPrefix(d.Source, "aws.")
	}
	switch {
	case d.other:
		return mfa.Change{Kind: mfa.NotRelevant, EventName: d.DetailType}, nil
	case d.EventType == "AwsCloudTrailInsight": // about many calls, names none
		return mfa.Change{Kind: mfa.NotRelevant, EventName: d.EventType, EventID: d.EventID, At: looseTime(d.EventTime)}, nil
	case d.EventName == "":
		return mfa.Change{}, errors.New("eventName is missing, so this is no CloudTrail record, nor an envelope around one")
	case d.EventSource == "" && !known:
		return mfa.Change{}, errors.New("eventSource is missing")
	}
	op, listed := operations[d.EventName]
	guard, ours := guards[source]
	switch {
	case source == cognito && listed:
	case ours && guard.concerns(d.EventName) && d.writes():
		op = operation{kind: mfa.GuardChanged}
	default:
		return mfa.Change{Kind: mfa.NotRelevant, EventName: d.EventName, EventID: d.EventID, At: looseTime(d.EventTime)}, nil
	}
	if major, _, _ := strings.Cut(d.EventVersion, "."); major != "1" && d.EventVersion != "" {
		return mfa.Change{}, fmt.Errorf("eventVersion %q has another major version than 1", clip(d.EventVersion))
	}
	at := looseTime(d.EventTime)
	if at.IsZero() {
		return mfa.Change{}, fmt.Errorf("eventTime %q is no time such as 2026-11-23T08:00:00Z", clip(d.EventTime))
	}
	c := mfa.Change{
		Kind: op.kind, EventName: d.EventName, EventID: d.EventID, At: at,
		Source: d.SourceIP, Account: d.RecipientAccountID, Region: d.Region, Failed: d.ErrorCode, Replayed: d.ReplayName,
	}
	if c.Key = d.key(); c.Key == "" && op.kind != mfa.NotRelevant {
		return mfa.Change{}, errors.New("eventID is missing")
	}
	if len(c.Key) > maxID {
		return mfa.Change{}, fmt.Errorf("eventID has %d characters; CloudTrail's have 36", len(c.Key))
	}
	c.Actor, c.Claims = d.actor(op.self)
	if op.kind == mfa.GuardChanged {
		c.Service, c.Resources = cmp.Or(guard.as, source), d.named(guard)
		return c, nil
	}
	params := members(d.RequestParameters)
	extra := members(d.AdditionalEventData)
	c.Pool = mfa.PoolID(shownString(params.get("userPoolId")))
	if c.Pool == "" {
		c.Pool = mfa.PoolID(shownString(extra.get("userPoolId")))
	}
	var err error
	if c.Sub, err = sub(extra); err != nil {
		return mfa.Change{}, err
	}
	if len(c.Sub) > maxID || len(c.Pool) > maxID {
		return mfa.Change{}, fmt.Errorf("additionalEventData.sub or userPoolId has more than %d characters", maxID)
	}
	if op.read != nil {
		op.read(params, &c)
	}
	if op.kind == mfa.FactorsChanged && d.RequestParameters.Kind() != '{' {
		c.Masked = true // hidden as a whole, or left out because of its size
	}
	return c, nil
}

// key is the cause key: the same for everything that tells of the same call.
// A record without either id has the request's, which CloudTrail repeats too.
func (d *delivery) key() string {
	if id := shownString(members(d.Addendum).get("originalEventID")); id != "" {
		return id
	}
	if d.EventID != "" {
		return d.EventID
	}
	return d.RequestID
}

// sub is the user's: AWS records it, never the username. Service events of the
// hosted UI have it in a list.
func sub(extra fields) (mfa.Sub, error) {
	if s := shownString(extra.get("sub")); s != "" {
		return mfa.Sub(s), nil
	}
	listed := members(extra.get("requestParameters")).get("sub")
	if listed.Kind() != '[' {
		return mfa.Sub(shownString(listed)), nil
	}
	var found []string
	for _, v := range elements(listed) {
		if s := shownString(v); s != "" && !slices.Contains(found, s) {
			found = append(found, s)
		}
	}
	switch len(found) {
	case 0:
		return "", nil
	case 1:
		return mfa.Sub(found[0]), nil
	default:
		return "", fmt.Errorf("additionalEventData.requestParameters.sub names %d users", len(found))
	}
}

var ticketPattern = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`[A-Z]{2,10}-?[0-9]{4,12}`)
})

// actor reads who made the call. What is missing or masked stays empty: an
// unknown actor is an answer.
func (d *delivery) actor(self bool) (mfa.Actor, []string) {
	id := members(d.UserIdentity)
	session := members(id.get("sessionContext"))
	a := mfa.Actor{
		ARN:            shownString(id.get("arn")),
		Issuer:         shownString(members(session.get("sessionIssuer")).get("arn")),
		Type:           mfa.Admin,
		SourceIdentity: shownString(session.get("sourceIdentity")),
	}
	switch {
	case self:
		a.Type = mfa.Self
	case d.EventType == "AwsServiceEvent" || text(id.get("type")) == "AWSService":
		a.Type = mfa.Service
		if a.ARN == "" {
			a.ARN = shownString(id.get("invokedBy"))
		}
	}
	var claims []string
	claim := func(text string) {
		for _, t := range ticketPattern().FindAllString(text, 4) {
			if !slices.Contains(claims, t) {
				claims = append(claims, t)
			}
		}
	}
	if _, app, ok := strings.Cut(d.UserAgent, " app/"); ok {
		app, _, _ = strings.Cut(app, " ")
		claim(app)
	}
	if strings.Contains(a.ARN, ":assumed-role/") {
		claim(a.ARN[strings.LastIndexByte(a.ARN, '/')+1:])
	}
	claim(a.SourceIdentity)
	return a, claims
}

// writes reports whether the record may be of a call that changed a resource. Data
// events, such as the worker's own writes to its ledger, change what is in one.
func (d *delivery) writes() bool { return d.ReadOnly.Kind() != 't' && d.EventCategory != "Data" }

// named lists the names and ARNs that a call on a guard's service names.
func (d *delivery) named(g guarded) []string {
	var out []string
	take := func(v jsontext.Value) {
		if s := shownString(v); s != "" && len(s) <= 2048 {
			out = append(out, s)
		}
	}
	for _, part := range []jsontext.Value{d.RequestParameters, d.ResponseElements} {
		for _, m := range members(part) {
			if !g.names(m.name, d.EventName) {
				continue
			}
			take(m.value)
			for _, v := range elements(m.value) {
				take(v)
			}
		}
	}
	for _, r := range elements(d.Resources) {
		take(members(r).get("arn"))
	}
	return out
}

// looseTime is the time in whole seconds UTC, or zero if it is none that
// CloudTrail can have written. A year of five digits could not be written again.
func looseTime(s string) time.Time {
	at, err := time.Parse(time.RFC3339, s)
	if err != nil || at.Year() < 2000 || at.Year() > 2999 {
		return time.Time{}
	}
	return at.UTC().Truncate(time.Second)
}

func clip(s string) string {
	if len(s) > 60 {
		return strings.ToValidUTF8(s[:60], "") + "…"
	}
	return s
}
