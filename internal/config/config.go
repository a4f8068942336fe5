// Package config is what the functions are told by their environment.
//
// It refuses to know AWS clients: it says what was configured, the functions
// make clients of it. Values are never printed, since an environment is where
// secrets end up.
package config

import (
	"time"

	"github.com/stackflow/relatch/internal/mfa"
)

// Config is the one set of settings of all functions. Each field names its
// variable. What a function does not need may be missing; what is there is checked
// all the same. The zero Config is no configuration; make one with Read, or
// ReadOverride for the function override.
type Config struct {
	// Pools are the ids of the guarded user pools, at least one.
	// RELATCH_POOLS, ids or ARNs, separated by commas.
	Pools []mfa.PoolID
	// Observe: decide, schedule and alert, but neither restore nor sign out.
	// RELATCH_MODE, "enforce" or "observe". Defaults to enforce.
	Observe bool
	// OwnRoles are the ARNs of the functions' own roles, at least one.
	// RELATCH_OWN_ROLES, separated by commas.
	OwnRoles []string
	// DeploymentRole is the ARN of the role that may change Relatch's own
	// resources without a page. RELATCH_DEPLOYMENT_ROLE. Defaults to nobody.
	DeploymentRole string
	// Guard are the ARNs of Relatch's own resources; one that ends in * is every
	// resource whose name begins so. RELATCH_GUARD, separated by commas. What is of
	// the account and Region of reenable's queue may be written short, as
	// "events:rule/relatch-mfa": an environment has 4 KB. Defaults to none.
	Guard []string

	// Table is the ledger's table. RELATCH_TABLE.
	Table string
	// AlertBus is the name or ARN of the event bus that takes alerts.
	// RELATCH_ALERT_BUS.
	AlertBus string
	// ReenableQueueURL and ReenableQueueARN are of reenable's queue.
	// RELATCH_REENABLE_QUEUE_URL and RELATCH_REENABLE_QUEUE_ARN.
	ReenableQueueURL, ReenableQueueARN string
	// AuditQueueURL is of audit's queue. RELATCH_AUDIT_QUEUE_URL. Needed by
	// override alone.
	AuditQueueURL string
	// DeadLettersURL is of the queue that keeps what could not be read.
	// RELATCH_DEAD_LETTERS_URL.
	DeadLettersURL string
	// ScheduleGroup is the schedule group that has Relatch's timers and no other
	// schedules. RELATCH_SCHEDULE_GROUP.
	ScheduleGroup string
	// ScheduleRole is the ARN of the role by which the scheduler sends to queues.
	// RELATCH_SCHEDULE_ROLE.
	ScheduleRole string
	// ScheduleDeadLetters is the ARN of the queue that keeps what the scheduler
	// could not send. RELATCH_SCHEDULE_DEAD_LETTERS.
	ScheduleDeadLetters string

	// PolicyTable is the table that has the policy record, PolicyKey its key
	// attribute and PolicyValue the attribute with the record. RELATCH_POLICY_TABLE,
	// RELATCH_POLICY_KEY, which defaults to "name", and RELATCH_POLICY_VALUE, which
	// defaults to "value". All empty if there is a PolicyParameter.
	PolicyTable, PolicyKey, PolicyValue string
	// PolicyParameter is the SSM parameter that has the policy record; empty if
	// there is a PolicyTable. RELATCH_POLICY_PARAMETER.
	PolicyParameter string
	// PolicyFor is how long a policy that was read is kept before it is read
	// again, up to 15 minutes; 0: not at all. RELATCH_POLICY_FOR, such as "90s".
	// Defaults to 1 minute.
	PolicyFor time.Duration

	// PoolFor is how long a pool's settings are shown as they were last looked
	// at, up to 5 minutes; 0: a pool is looked at every time. RELATCH_POOL_FOR,
	// such as "1m". Defaults to 30 seconds.
	PoolFor time.Duration
	// QuotaShare is the share of Cognito's rate quotas that all processes of the
	// function may use together, above 0 and at most 1. RELATCH_QUOTA_SHARE.
	// Defaults to 0.25.
	QuotaShare float64
	// Concurrency is how many processes share it: the function's reserved
	// concurrency, at least 1. RELATCH_CONCURRENCY. Defaults to 1.
	Concurrency int
	// AuthFactors: Cognito is asked whether a TOTP that it lists has a secret
	// (AdminGetUserAuthFactors). RELATCH_AUTH_FACTORS, "on" or "off". Defaults to on.
	AuthFactors bool
}

// House is the part of the configuration that decisions depend on.
func (c Config) House() mfa.House {
	return mfa.House{
		Pools: c.Pools, Guard: c.Guard, DeploymentRole: c.DeploymentRole, Observe: c.Observe,
		OwnRoles: c.OwnRoles,
	}
}
