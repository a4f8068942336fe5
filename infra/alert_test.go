package infra_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stackflow/relatch/internal/bus"
)

// alerts are one of each kind, severity and state, as the golden file of
// internal/alert has them, in EventBridge's envelope.
func alerts(t testing.TB) map[string]map[string]any {
	t.Helper()
	golden, err := os.ReadFile("../internal/alert/testdata/alerts.golden")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]map[string]any{}
	for part := range bytes.SplitSeq(golden, []byte("== ")) {
		title, body, ok := bytes.Cut(part, []byte("\n"))
		if !ok {
			continue
		}
		var detail map[string]any
		if err := json.Unmarshal(body, &detail); err != nil {
			t.Fatal(err)
		}
		out[string(title)] = map[string]any{"source": bus.Source, "detail-type": bus.DetailType, "account": account, "region": region, "detail": detail}
	}
	if len(out) < 20 {
		t.Fatalf("found %d alerts", len(out))
	}
	return out
}

// hostile is an alert with what people, also bad ones, can write into it.
func hostile(event map[string]any) map[string]any {
	detail := maps.Clone(object(event["detail"]))
	for _, key := range []string{"title", "what_happened"} {
		detail[key] = text(detail[key]) + ` "quoted" \ {"x": <y>} ` + "\n<!channel>"
	}
	event = maps.Clone(event)
	event["detail"] = detail
	return event
}

var placeholder = regexp.MustCompile(`<[A-Za-z0-9_-]+>`)

// transform is what EventBridge makes of an event for a target (User Guide,
// "Amazon EventBridge input transformation"). A variable outside a string is the
// value as JSON; inside of one it is the value's text, not escaped, without the
// quotes that a list has. A variable whose path finds nothing is an error here.
func transform(transformer map[string]any, event map[string]any) (string, error) {
	values := map[string]any{}
	for variable, path := range object(transformer["InputPathsMap"]) {
		v, ok := find(event, text(path))
		if !ok {
			return "", fmt.Errorf("%s: there is no %s", variable, path)
		}
		values[variable] = v
	}
	template := text(transformer["InputTemplate"])
	var out strings.Builder
	inString, last := false, 0
	var problem error
	for _, at := range placeholder.FindAllStringIndex(template, -1) {
		between := template[last:at[0]]
		inString = inString != (strings.Count(between, `"`)%2 == 1)
		out.WriteString(between)
		v, ok := values[template[at[0]+1:at[1]-1]]
		if !ok {
			problem = fmt.Errorf("%s is no variable", template[at[0]:at[1]])
		}
		raw, err := json.Marshal(v)
		if err != nil {
			return "", err
		}
		switch s, is := v.(string); {
		case !inString:
			out.Write(raw)
		case is:
			out.WriteString(s)
		default:
			out.WriteString(strings.ReplaceAll(string(raw), `"`, ""))
		}
		last = at[1]
	}
	out.WriteString(template[last:])
	return out.String(), problem
}

// find follows a path such as $.detail.title.
func find(event map[string]any, path string) (any, bool) {
	keys := strings.Split(path, ".")
	var v any = event
	for _, key := range keys[1:] {
		m, is := v.(map[string]any)
		if !is {
			return nil, false
		}
		if v, is = m[key]; !is {
			return nil, false
		}
	}
	return v, keys[0] == "$"
}

// sent is what the rules on the bus hand on of the event: what each target gets,
// by the id of the target's resource, with the id of the rule.
type handed struct{ rule, body string }

func (s *stack) sent(t testing.TB, onAlertBus bool, event map[string]any) map[string][]handed {
	t.Helper()
	out := map[string][]handed{}
	for _, id := range s.of("AWS::Events::Rule") {
		p := s.Resources[id].Properties
		if (p["EventBusName"] != nil) != onAlertBus {
			continue
		}
		ok, err := matches(object(p["EventPattern"]), event)
		if err != nil {
			t.Fatalf("%s: %v", id, err)
		}
		for _, target := range list(p["Targets"]) {
			if !ok {
				continue
			}
			body := string(encode(t, event))
			if transformer := object(under(target, "InputTransformer")); transformer != nil {
				if body, err = transform(transformer, event); err != nil {
					t.Errorf("%s, %s: %v", id, under(target, "Id"), err)
				}
			}
			to := text(under(target, "Id"))
			out[to] = append(out[to], handed{id, body})
		}
	}
	return out
}

// everyAlertReachesWhomItIsFor, as sound JSON, whatever stands in it.
func everyAlertReachesWhomItIsFor(t testing.TB, in source) {
	t.Helper()
	s := in.deploy(t, everything())
	for title, plain := range alerts(t) {
		for _, event := range []map[string]any{plain, hostile(plain)} {
			detail := object(event["detail"])
			sent := s.sent(t, true, event)
			want := map[string]int{"slack": 1, "central": 1, "topic": 1}
			if slices.Contains(texts(detail["audience"]), "administrators") { // on-call has nothing to do about it
				want["topic"], want["notices"] = 0, 1
			}
			for _, to := range []string{"topic", "notices", "slack", "central"} {
				if len(sent[to]) != want[to] {
					t.Errorf("%s: %s gets %d messages, want %d", title, to, len(sent[to]), want[to])
				}
			}
			for to, all := range sent {
				for _, h := range all {
					var body map[string]any
					if err := json.Unmarshal([]byte(h.body), &body); err != nil {
						t.Errorf("%s to %s: %v in\n%s", title, to, err, h.body)
						continue
					}
					saysTheSame(t, title, to, detail, body)
				}
			}
			if want := pages(detail); !slices.Equal(actionsOf(t, sent["pagerduty"]), want) {
				t.Errorf("%s: PagerDuty is told %v, want %v", title, actionsOf(t, sent["pagerduty"]), want)
			}
			event["replay-name"] = "replay-1"
			if again := s.sent(t, true, event); len(again) > 0 {
				t.Errorf("%s: a replay is sent to %v", title, slices.Collect(maps.Keys(again)))
			}
			delete(event, "replay-name")
			for key, other := range map[string]string{"account": "444455556666", "region": "eu-west-1"} {
				own := event[key]
				if event[key] = other; len(s.sent(t, true, event)["central"]) > 0 {
					t.Errorf("%s: another %s's alert is forwarded again", title, key)
				}
				event[key] = own
			}
			for key, own := range map[string]string{"source": bus.Source, "detail-type": bus.DetailType} {
				event[key] = "other"
				for to, all := range s.sent(t, true, event) {
					if key == "source" || to != "central" { // the central bus allows alerts only
						t.Errorf("%s: what has another %s is sent to %s by %s", title, key, to, all[0].rule)
					}
				}
				event[key] = own
			}
		}
	}
}

// pages are what PagerDuty is to be told: only what is critical pages, a note
// opens nothing.
func pages(detail map[string]any) []string {
	state, severity := detail["state"], detail["severity"]
	switch {
	case state == "noted":
		return nil
	case state == "resolved", severity != "critical" && state == "changed":
		return []string{"resolve"}
	case severity == "critical":
		return []string{"trigger"}
	default:
		return nil
	}
}

func actionsOf(t testing.TB, all []handed) []string {
	t.Helper()
	var out []string
	for _, h := range all {
		var body map[string]any
		if err := json.Unmarshal([]byte(h.body), &body); err != nil {
			t.Error(err)
		}
		out = append(out, text(body["event_action"]))
	}
	return out
}

func saysTheSame(t testing.TB, title, to string, detail, body map[string]any) {
	t.Helper()
	const runbooks = "https://github.com/stackflow/relatch/blob/main/"
	want := map[string]any{}
	got := map[string]any{}
	switch {
	case to == "topic":
		want["title"], want["what_happened"], want["alert"] = detail["title"], detail["what_happened"], detail
		if detail["severity"] != "info" && detail["state"] != "resolved" {
			want["what_to_do"], want["runbook"] = detail["what_to_do"], runbooks+text(detail["runbook"])
		}
		got = body
	case to == "notices":
		want["title"], want["what_happened"], want["what_to_do"], want["alert"] = detail["title"], detail["what_happened"], detail["what_to_do"], detail
		got = body
	case to == "slack":
		want["text"], want["channel"] = detail["title"], "C0123456789"
		got["text"], got["channel"] = body["text"], body["channel"]
		says := []any{detail["title"], detail["what_happened"]}
		if detail["severity"] != "info" && detail["state"] != "resolved" {
			says = append(says, "What to do: ")
		}
		for i, want := range says {
			blocks := append(list(body["blocks"]), nil, nil, nil)
			if got := text(under(blocks[i], "text", "text")); !strings.HasPrefix(got, text(want)) || got == "" {
				t.Errorf("%s to %s: block %d says %q, want %q", title, to, i+1, got, want)
			}
		}
		for _, block := range list(body["blocks"]) {
			if kind := under(block, "text", "type"); kind != nil && kind != "plain_text" {
				t.Errorf("%s: a name in it could call the channel: %v", title, block)
			}
		}
	case to == "pagerduty" && body["event_action"] == "trigger":
		want["dedup_key"], want["summary"], want["severity"], want["custom_details"] = account+"/"+region+"/"+text(detail["incident"]), detail["title"], "critical", detail
		got["dedup_key"], got["summary"], got["severity"], got["custom_details"] = body["dedup_key"], under(body, "payload", "summary"), under(body, "payload", "severity"), under(body, "payload", "custom_details")
		if links := list(body["links"]); len(links) != 1 || under(links[0], "href") != runbooks+text(detail["runbook"]) {
			t.Errorf("%s: %v", title, links)
		}
	case to == "pagerduty":
		want["dedup_key"], got["dedup_key"] = account+"/"+region+"/"+text(detail["incident"]), body["dedup_key"]
	default:
		want, got = detail, object(body["detail"])
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s to %s (-want +got):\n%s", title, to, diff)
	}
}

// variablesInsideStringsAreNobodysWords: EventBridge does not escape them.
func variablesInsideStringsAreNobodysWords(t testing.TB, in source) {
	t.Helper()
	ours := map[string]bool{ // ids and words of Relatch and AWS, and the steps, which name nobody but by an ARN
		"$.account": true, "$.region": true, "$.detail.incident": true, "$.detail.runbook": true, "$.detail.what_to_do": true, "$.detail.alarmName": true,
	}
	s := in.deploy(t, everything())
	for _, id := range s.of("AWS::Events::Rule") {
		for _, target := range list(s.Resources[id].Properties["Targets"]) {
			transformer := object(under(target, "InputTransformer"))
			template := text(transformer["InputTemplate"])
			for _, at := range placeholder.FindAllStringIndex(template, -1) {
				path := text(under(transformer, "InputPathsMap", template[at[0]+1:at[1]-1]))
				if strings.Count(template[:at[0]], `"`)%2 == 1 && !ours[path] {
					t.Errorf("%s: %s stands inside a string", id, path)
				}
			}
			if n := len(template); n > 8192 {
				t.Errorf("%s: the template has %s characters", id, strconv.Itoa(n))
			}
		}
	}
}

// anAlarmPages, and is resolved when it is over.
func anAlarmPages(t testing.TB, in source) {
	t.Helper()
	s := in.deploy(t, everything())
	for _, c := range []struct {
		alarm, state string
		want         []string
	}{
		{"relatch-overdue", "ALARM", []string{"trigger"}},
		{"relatch-overdue", "OK", []string{"resolve"}},
		{"relatch-overdue", "INSUFFICIENT_DATA", nil},
		{"other-overdue", "ALARM", nil},
		{"other-overdue", "OK", nil},
	} {
		event := map[string]any{
			"source": "aws.cloudwatch", "detail-type": "CloudWatch Alarm State Change", "account": account, "region": region,
			"detail": map[string]any{"alarmName": c.alarm, "state": map[string]any{"value": c.state, "reason": `"x"`}, "configuration": map[string]any{"description": `Users are "out".`}},
		}
		sent := s.sent(t, false, event)["pagerduty"]
		for _, key := range []string{"source", "detail-type"} {
			own := event[key]
			if event[key] = "other"; len(s.sent(t, false, event)) > 0 {
				t.Errorf("%s %s: what has another %s pages", c.alarm, c.state, key)
			}
			event[key] = own
		}
		if got := actionsOf(t, sent); !slices.Equal(got, c.want) {
			t.Errorf("%s %s: %v, want %v", c.alarm, c.state, got, c.want)
		}
		for _, h := range sent {
			var body map[string]any
			if err := json.Unmarshal([]byte(h.body), &body); err != nil || body["dedup_key"] != account+"/"+region+"/"+c.alarm ||
				c.state == "ALARM" && (under(body, "payload", "summary") != `Users are "out".` || under(body, "payload", "severity") != "critical") {
				t.Errorf("%s %s: %v in %s", c.alarm, c.state, err, h.body)
			}
		}
	}
}

// destinationsAreWhereTheServicesListen (PagerDuty, "Send an alert event"; Slack,
// "chat.postMessage").
func destinationsAreWhereTheServicesListen(t testing.TB, in source) {
	t.Helper()
	s := in.deploy(t, everything())
	got := map[string]map[string]any{}
	for _, id := range s.of("AWS::Events::ApiDestination") {
		got[id] = s.Resources[id].Properties
	}
	if diff := cmp.Diff(map[string]map[string]any{
		"PagerDuty": {
			"Name": "relatch-pagerduty", "ConnectionArn": s.attribute(t, "PagerDutyConnection", "Arn"), "InvocationEndpoint": "https://events.pagerduty.com/v2/enqueue",
			"HttpMethod": "POST", "InvocationRateLimitPerSecond": 2,
		},
		"Slack": {
			"Name": "relatch-slack", "ConnectionArn": s.attribute(t, "SlackConnection", "Arn"), "InvocationEndpoint": "https://slack.com/api/chat.postMessage",
			"HttpMethod": "POST", "InvocationRateLimitPerSecond": 1,
		},
	}, got); diff != "" {
		t.Errorf("destinations (-want +got):\n%s", diff)
	}
	slack, routing := text(s.parameters["SlackToken"]), text(s.parameters["PagerDutyRoutingKey"])
	parameter := func(key, value string, secret bool) map[string]any {
		return map[string]any{"Key": key, "Value": value, "IsValueSecret": secret}
	}
	for id, want := range map[string]map[string]any{
		"PagerDutyConnection": {
			"ApiKeyAuthParameters":     map[string]any{"ApiKeyName": "X-Relatch", "ApiKeyValue": "none"},
			"InvocationHttpParameters": map[string]any{"BodyParameters": []any{parameter("routing_key", routing, true)}},
		},
		"SlackConnection": {
			"ApiKeyAuthParameters":     map[string]any{"ApiKeyName": "Authorization", "ApiKeyValue": "Bearer " + slack},
			"InvocationHttpParameters": map[string]any{"HeaderParameters": []any{parameter("Content-Type", "application/json; charset=utf-8", false)}},
		},
	} {
		p := s.Resources[id].Properties
		if diff := cmp.Diff(want, object(p["AuthParameters"])); diff != "" || p["AuthorizationType"] != "API_KEY" {
			t.Errorf("%s, authorised by %v (-want +got):\n%s", id, p["AuthorizationType"], diff)
		}
	}
}

// secretsAreNotShown: neither by the console nor by what describes the stack.
func secretsAreNotShown(t testing.TB, in source) {
	t.Helper()
	s := in.deploy(t, everything())
	for _, secret := range []string{"PagerDutyRoutingKey", "SlackToken"} {
		if under(s.template, "Parameters", secret, "NoEcho") != true {
			t.Errorf("%s is shown", secret)
		}
		for id, r := range s.Resources {
			if r.Type != "AWS::Events::Connection" && strings.Contains(string(encode(t, r.Properties)), text(s.parameters[secret])) {
				t.Errorf("%s is in %s", secret, id)
			}
		}
	}
	p := s.Resources["PagerDutyConnection"].Properties
	if body := list(under(p, "AuthParameters", "InvocationHttpParameters", "BodyParameters")); len(body) != 1 || under(body[0], "IsValueSecret") != true || under(body[0], "Key") != "routing_key" {
		t.Errorf("%v", body)
	}
}
