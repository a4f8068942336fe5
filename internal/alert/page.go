package alert

import (
	"time"

	"github.com/stackflow/relatch/internal/mfa"
)

// TestPage is the kind of the page that a person sends to see that pages arrive.
// Nothing else is of this kind, and no decision ever is: who routes alerts may
// tell it from an emergency by its kind, and has to deliver it like one.
const TestPage mfa.AlertKind = "test_page"

// Test is a test page by the actor of that ARN.
func Test(arn string, now time.Time) Alert {
	actor := mfa.Actor{ARN: arn, Type: mfa.Admin}
	return Alert{
		Schema:       Schema,
		Alert:        mfa.Alert{Kind: TestPage, Severity: mfa.Critical, State: mfa.StateNoted, Incident: "test/" + now.UTC().Format("20060102T150405Z")},
		Title:        "TEST CRITICAL page of Relatch, sent by " + Who(actor) + ": nothing has happened",
		WhatHappened: clock(now) + " relatch doctor --page, by " + Who(actor),
		WhatToDo:     []string{"tell " + Who(actor) + " that it has arrived, and how long it took"},
		Actor:        &Actor{ARN: arn, Name: Who(actor), Type: actor.Type},
		EventTime:    now.UTC().Truncate(time.Second),
		Runbook:      runbook(TestPage),
	}
}
