package infra_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// mistake is one that somebody can make in the template, or in the guardrail: of a
// resource, or of everything, a text is replaced where it stands first. Without a
// text the resource is taken out; a resource that does not exist is put in.
type mistake struct {
	what     string
	in       string // the id of the resource; empty for the whole template
	from, to string
	found    string // a part of the problem that must be found
}

var mistakes = []mistake{
	// What functions may do.
	{"a wrong action", "WorkerPolicy", "cognito-idp:AdminGetUser'", "cognito-idp:AdminGetDevice'", "needs and may not: cognito-idp:AdminGetUser on"},
	{"an action that does not exist", "WorkerPolicy", "scheduler:GetSchedule,", "scheduler:ReadSchedule,", "there is no action scheduler:ReadSchedule"},
	{"an action that is spelt otherwise", "WorkerPolicy", "dynamodb:BatchGetItem", "dynamodb:BatchGetItems", "there is no action dynamodb:BatchGetItems"},
	{"an action is missing", "WorkerPolicy", "dynamodb:Query, ", "", "needs and may not: dynamodb:Query on"},
	{"an action too many", "SweepRole", "'cognito-idp:ListUsersInGroup'", "['cognito-idp:ListUsersInGroup', 'cognito-idp:AdminListDevices']", "needs not: cognito-idp:AdminListDevices on"},
	{"all actions of a service", "AuditRole", "['sqs:ReceiveMessage', 'sqs:DeleteMessage', 'sqs:GetQueueAttributes']", "'sqs:*'", "sqs:* is more than one action"},
	{"every resource", "WorkerPolicy", "Resource: !GetAtt ReenableQueue.Arn", "Resource: '*'", "sqs:SendMessage has the resource *"},
	{"every schedule", "WorkerPolicy", "schedule/${Name}/*'", "schedule/*'", "schedule/*"},
	{"another table", "WorkerPolicy", "Resource: !GetAtt Ledger.Arn", "Resource: !Sub 'arn:${AWS::Partition}:dynamodb:${AWS::Region}:${AWS::AccountId}:table/*'", "table/*"},
	{"audit may write to users", "AuditRole", "{Effect: Allow, Action: 'sqs:SendMessage'", "{Effect: Allow, Action: 'cognito-idp:AdminSetUserMFAPreference', Resource: !Ref UserPoolArns}\n              - {Effect: Allow, Action: 'sqs:SendMessage'", "may write to users: cognito-idp:AdminSetUserMFAPreference"},
	{"all workers may sign out", "WorkerPolicy", "'cognito-idp:ListGroups'", "'cognito-idp:ListGroups', 'cognito-idp:AdminUserGlobalSignOut'", "may write to users: cognito-idp:AdminUserGlobalSignOut"},
	{"reenable may not write to users", "ReenableRole", "['cognito-idp:AdminSetUserMFAPreference', 'cognito-idp:AdminUserGlobalSignOut']", "'cognito-idp:AdminUserGlobalSignOut'", "cognito-idp:AdminSetUserMFAPreference on"},
	{"reenable may write to all pools", "ReenableRole", "'cognito-idp:AdminUserGlobalSignOut'], Resource: !Ref UserPoolArns", "'cognito-idp:AdminUserGlobalSignOut'], Resource: '*'", "has the resource *"},
	{"a function may delete from the journal", "WorkerPolicy", "dynamodb:PutItem]", "dynamodb:PutItem, dynamodb:DeleteItem]", "dynamodb:DeleteItem"},
	{"a function may switch a rule off", "WorkerPolicy", "'events:PutEvents'", "'events:DisableRule', 'events:PutEvents'", "events:DisableRule"},
	{"a function may pass the role to any service", "WorkerPolicy", ", Condition: {StringEquals: {'iam:PassedToService': scheduler.amazonaws.com}}", "", "may and needs not: iam:PassRole"},
	{"any item may be updated", "WorkerPolicy", "ForAllValues:StringLike: {'dynamodb:LeadingKeys': actor/*}", "ForAllValues:StringLike: {'dynamodb:LeadingKeys': '*'}", `"dynamodb:LeadingKeys":"*"`},
	{"a count cannot be updated", "WorkerPolicy", "[pk, sk, subs]", "[pk, sk, users]", "may not: dynamodb:UpdateItem"},
	{"override may write entries", "OverrideRole", "[pk, sk, justification, approval, use]", "[pk, sk, justification, approval, use, journal, number, prev, hash, record]", "override may: dynamodb:PutItem"},
	{"override may not record tickets", "OverrideRole", ", ticket/*", "", "override may not: dynamodb:PutItem"},
	{"a key for everything", "PolicyKeyPolicy", ", Condition: {\n          StringEquals: {'kms:ViaService': [!Sub 'ssm.${AWS::Region}.amazonaws.com', !Sub 'dynamodb.${AWS::Region}.amazonaws.com']}}", "", "kms:Decrypt on"},
	{"everything but", "WorkerPolicy", "Action: [dynamodb:BatchGetItem, dynamodb:Query, dynamodb:PutItem]", "NotAction: iam:*", "has a NotAction"},
	{"every resource but", "SweepRole", "Resource: !GetAtt SweepLogs.Arn", "NotResource: arn:aws:s3:::x", "has a NotResource"},
	{"a policy of AWS", "AuditRole", "ManagedPolicyArns: [", "ManagedPolicyArns: ['arn:aws:iam::aws:policy/AdministratorAccess', ", "which is not the stack's"},
	{"a policy for a user", "OperatorPolicy", "      PolicyDocument:", "      Users: [ann]\n      PolicyDocument:", "has Users"},
	{"an old policy language", "WorkerPolicy", "Version: '2012-10-17'", "Version: '2008-10-17'", "has the version 2008-10-17"},
	{"a role that may less than it says", "AuditRole", "      Description:", "      PermissionsBoundary: arn:aws:iam::aws:policy/ReadOnlyAccess\n      Description:", "has PermissionsBoundary"},

	// What services and people may do.
	{"the timers' role may send anywhere", "TimerRole", "Resource: [!GetAtt ReenableQueue.Arn, !GetAtt TimerDeadLetters.Arn]", "Resource: '*'", "sqs:SendMessage has the resource *"},
	{"timers have no dead letters", "TimerRole", ", !GetAtt TimerDeadLetters.Arn", "", "needs and may not"},
	{"the schedule may not invoke the sweep", "SweepScheduleRole", "!GetAtt SweepFunction.Arn}", "!GetAtt AuditFunction.Arn}", "needs and may not"},
	{"EventBridge may not use the topics' key", "AlertRole", "{Effect: Allow, Action: ['kms:Decrypt', 'kms:GenerateDataKey'], Resource: !GetAtt TopicKey.Arn}", "{Effect: Allow, Action: 'sns:Publish', Resource: !Ref Topic}", "kms:Decrypt on"},
	{"EventBridge may publish to any topic", "AlertRole", "Resource: [!Ref Topic, !Ref NoticeTopic]", "Resource: '*'", "sns:Publish has the resource *"},
	{"PagerDuty cannot be reached", "PagePolicy", "!GetAtt PagerDuty.Arn", "!GetAtt PagerDutyConnection.Arn", "events:InvokeApiDestination on"},
	{"operators may invoke override around its URL", "OperatorPolicy", "            Condition: {Bool: {'lambda:InvokedViaFunctionUrl': 'true'}}\n", "", "lambda:InvokeFunction under map[]"},
	{"operators may switch MFA off", "OperatorPolicy", "Action: lambda:InvokeFunctionUrl", "Action: [lambda:InvokeFunctionUrl, cognito-idp:AdminSetUserMFAPreference]", "operators"},
	{"auditors may write the ledger", "AuditorPolicy", "'dynamodb:Scan'", "'dynamodb:Scan', 'dynamodb:PutItem'", "dynamodb:PutItem on"},
	{"auditors cannot verify", "AuditorPolicy", "'dynamodb:Scan', ", "", "dynamodb:Scan on"},
	{"auditors may read all logs", "AuditorPolicy", "Resource: [!GetAtt AuditLogs.Arn, !GetAtt ReenableLogs.Arn, !GetAtt SweepLogs.Arn, !GetAtt OverrideLogs.Arn]", "Resource: '*'", "logs:FilterLogEvents has the resource *"},

	// Who is trusted.
	{"a role trusts everybody", "AuditRole", "Principal: {Service: lambda.amazonaws.com}", "Principal: '*'", "AuditRole trusts"},
	{"a role trusts who signed in elsewhere", "AuditRole", "{Service: lambda.amazonaws.com}", "{Service: lambda.amazonaws.com, Federated: accounts.google.com}", "AuditRole trusts"},
	{"a role trusts another account", "ReenableRole", "Principal: {Service: lambda.amazonaws.com}", "Principal: {AWS: '444455556666'}", "ReenableRole trusts"},
	{"a role trusts another service", "SweepRole", "lambda.amazonaws.com", "ec2.amazonaws.com", "is open to [ec2.amazonaws.com]"},
	{"a role trusts a service of every account", "AuditRole", ", Condition: {StringEquals: {'aws:SourceAccount': !Ref 'AWS::AccountId'}}", "", "aws:SourceAccount is []"},
	{"the schedule group's role trusts another group", "TimerRole", "schedule-group/${Name}'", "schedule-group/default'", "TimerRole is for"},
	{"the sweep's role trusts the timers", "SweepScheduleRole", "schedule-group/${Name}-sweep'", "schedule-group/${Name}'", "SweepScheduleRole is for"},
	{"the timers' role trusts every schedule", "TimerRole", ", 'aws:SourceArn': !Sub 'arn:${AWS::Partition}:scheduler:${AWS::Region}:${AWS::AccountId}:schedule-group/${Name}'", "", "any source may use it"},
	{"the alerts' role is not for alarms", "AlertRole", "                  - !Sub 'arn:${AWS::Partition}:events:${AWS::Region}:${AWS::AccountId}:rule/${Name}-alarm-*'\n", "", "AlertRole is not for"},
	{"a public queue", "DeliveryPolicy", "Principal: {Service: events.amazonaws.com}", "Principal: '*'", "DeliveryPolicy, statement 1 is open to"},
	{"a queue for every account's rules", "DeliveryPolicy", "StringEquals: {'aws:SourceAccount': !Ref 'AWS::AccountId'}, ", "", "aws:SourceAccount is []"},
	{"a queue for every rule", "RuleDeadLettersPolicy", ", ArnEquals: {'aws:SourceArn': [!GetAtt MfaRule.Arn, !GetAtt GuardRule.Arn, !GetAtt GuardWorkRule.Arn, !GetAtt GuardHouseRule.Arn]}", "", "any source may use it"},
	{"a rule may not send", "DeliveryPolicy", "!GetAtt GuardWorkRule.Arn, ", "", "GuardWorkRule may not send to AuditQueue"},
	{"a rule's dead letters are refused", "RuleDeadLettersPolicy", "[!GetAtt MfaRule.Arn, ", "[", "MfaRule may not send to RuleDeadLetters"},
	{"alerts' dead letters are refused", "AlertDeadLettersPolicy", "", "", "may not send to AlertDeadLetters"},
	{"anybody may send to audit", "DeliveryPolicy", "Effect: Deny", "Effect: Allow", "anybody may send"},
	{"anybody of the account may send to audit", "DeliveryPolicy", "[!GetAtt OverrideRole.Arn, ", "[!Sub 'arn:${AWS::Partition}:iam::${AWS::AccountId}:role/*', ", "onlyTheRulesAndOverrideSendToAudit"},
	{"a public topic", "TopicPolicy", "Principal: {Service: cloudwatch.amazonaws.com}", "Principal: '*'", "TopicPolicy, statement 1 is open to"},
	{"a topic for every account's alarms", "TopicPolicy", "              StringEquals: {'aws:SourceAccount': !Ref 'AWS::AccountId'}\n", "", "aws:SourceAccount is []"},
	{"alarms may not publish", "TopicPolicy", "alarm:${Name}-*'", "alarm:other-*'", "may not publish to"},
	{"alarms may not use the key", "TopicKey", "[kms:Decrypt, 'kms:GenerateDataKey*']", "[kms:Decrypt]", "may not publish to"},
	{"a public key", "TopicKey", "Principal: {AWS: !Sub 'arn:${AWS::Partition}:iam::${AWS::AccountId}:root'}", "Principal: {AWS: '*'}", "TopicKey, statement 1 is open to"},
	{"a public bus", "EverybodysBus", "", "{Type: AWS::Events::EventBusPolicy, Properties: {EventBusName: !Ref AlertBus, StatementId: all, Statement: {Effect: Allow, Principal: '*', Action: events:PutEvents, Resource: !GetAtt AlertBus.Arn}}}", "EverybodysBus is a AWS::Events::EventBusPolicy"},
	{"a bus that is public by itself", "AlertBus", "Description: Alerts of Relatch.", "Description: Alerts., Policy: {Statement: [{Effect: Allow, Principal: '*', Action: events:PutEvents, Resource: '*'}]}", "AlertBus, statement 1 is open to"},
	{"a topic that tells somebody else too", "Topic", "DisplayName: Relatch,", "DisplayName: Relatch, Subscription: [{Endpoint: 'https://example.com', Protocol: https}],", "has Subscription.Endpoint"},
	{"a public function", "PublicPermission", "", "{Type: AWS::Lambda::Permission, Properties: {FunctionName: !Ref AuditFunction, Action: lambda:InvokeFunction, Principal: '*'}}", "PublicPermission: nobody but"},
	{"a public URL", "OverrideUrl", "AuthType: AWS_IAM", "AuthType: NONE", "the URL (-want +got)"},
	{"a URL for everybody", "OverrideUrlPermission", "Principal: !Ref 'AWS::AccountId'", "Principal: '*'", "the permission (-want +got)"},
	{"a URL for everybody without proof", "OverrideUrlPermission", "FunctionUrlAuthType: AWS_IAM", "FunctionUrlAuthType: NONE", "the permission (-want +got)"},
	{"a user with keys", "Key", "", "{Type: AWS::IAM::User}", "Key is a AWS::IAM::User"},
	{"code of its own", "Maker", "", "{Type: Custom::Maker, Properties: {ServiceToken: x}}", "Maker is a Custom::Maker"},

	// Patterns.
	{"the pattern misses an operation", "MfaRule", "AdminDeleteSoftwareToken, ", "", "AdminDeleteSoftwareToken: matched false, acted on true"},
	{"the pattern misses a self-service operation", "MfaRule", "DeleteWebAuthnCredential, ", "", "DeleteWebAuthnCredential: matched false, acted on true"},
	{"the pattern has an operation too many", "MfaRule", "DeleteGroup,", "DeleteGroup, AdminGetUser,", "AdminGetUser: matched true, acted on false"},
	{"an operation is spelt otherwise", "MfaRule", "AdminSetUserMFAPreference,", "AdminSetUserMfaPreference,", "AdminSetUserMFAPreference: matched false"},
	{"the pattern asks for enabled", "MfaRule", "        detail:\n", "        detail:\n          requestParameters: {softwareTokenMfaSettings: {enabled: [false]}}\n", "is not matched"},
	{"the pattern asks for a pool", "MfaRule", "        detail:\n", "        detail:\n          requestParameters: {userPoolId: [us-east-1_EXAMPLE12]}\n", "matched false, acted on true"},
	{"the pattern misses failed calls' absence", "MfaRule", "        detail:\n", "        detail:\n          errorCode: [{exists: true}]\n", "is not matched"},
	{"an operator that nobody knows", "MfaRule", "        detail:\n", "        detail:\n          awsRegion: [{anything-but: {prefix: cn}}]\n", "operator anything-but"},
	{"another operator that nobody knows", "GuardRule", "eventCategory: [Management]", "eventCategory: [{equals-ignore-case: management}]", "operator equals-ignore-case"},
	{"only one detail-type", "MfaRule", "[AWS API Call via CloudTrail, AWS Service Event via CloudTrail]", "[AWS Service Event via CloudTrail]", "matched false, acted on true"},
	{"only the other detail-type", "MfaRule", "[AWS API Call via CloudTrail, AWS Service Event via CloudTrail]", "[AWS API Call via CloudTrail]", "as an AWS Service Event via CloudTrail is not matched"},
	{"another source", "MfaRule", "aws.cognito-idp", "aws.cognito-identity", "matched false, acted on true"},
	{"anybody's events", "MfaRule", "        source: [aws.cognito-idp]\n", "", "what has the source my.app is matched"},
	{"any kind of event", "GuardHouseRule", "        detail-type: [AWS API Call via CloudTrail]\n", "", "what has the detail-type My Event is matched"},
	{"data events too", "GuardWorkRule", "          eventCategory: [Management]\n", "", "as a data event is matched"},
	{"a guarded service is missing", "GuardRule", "aws.cloudtrail, ", "", "StopLogging on"},
	{"a guarded resource is missing", "GuardWorkRule", "                      - !Sub '${Name}-sweep'\n", "", "DeleteFunction20150331 on"},
	{"mappings are not seen", "GuardWorkRule", "            - responseElements: {eventSourceArn: [!GetAtt AuditQueue.Arn, !GetAtt ReenableQueue.Arn]}\n", "", "UpdateEventSourceMapping20150331 on"},
	{"lookalikes are seen", "GuardWorkRule", "suffix: !Sub '/${Name}-audit'", "suffix: !Sub '${Name}-audit'", "on a lookalike of"},
	{"policies may change unseen", "GuardHouseRule", "CreatePolicyVersion, ", "", "CreatePolicyVersion on"},
	{"alarms may go unseen", "GuardHouseRule", "                  - alarmNames: [{prefix: !Sub '${Name}-'}]\n", "", "DisableAlarmActions on"},
	{"nobody sees the guard being switched off", "GuardWorkRule", "                  - rule: [!Sub '${Name}-guard']\n", "", "on GuardRule is seen by no other rule"},
	{"a rule sends to nobody", "GuardHouseRule", "Arn: !GetAtt AuditQueue.Arn", "Arn: !GetAtt ReenableQueue.Arn", "matched false, acted on true"},
	{"audit is not told of a queue", "AuditFunction", "sqs:${Name}-timer-dead-letters, ", "", "-made of +told"},
	{"audit's own timers come back", "GuardRule", "!Ref AuditRole, ", "", "does to timers comes back"},
	{"a pattern is too long", "GuardHouseRule", "aws.sns]", "aws.sns, " + strings.Repeat("x", 1000) + "]", "at most 2048 fit"},

	// Rules, queues, functions.
	{"a rule is off", "MfaRule", "State: ENABLED", "State: DISABLED", "MfaRule is"},
	{"a rule takes reads", "MfaRule", "State: ENABLED", "State: ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS", "MfaRule is ENABLED_WITH"},
	{"a page's rule is off", "Page", "EventBusName:", "State: DISABLED\n      EventBusName:", "Page is switched off"},
	{"a rule gives up early", "GuardRule", "MaximumRetryAttempts: 185", "MaximumRetryAttempts: 1", "does not try for as long"},
	{"an alert gives up early", "LoudAlerts", "          DeadLetterConfig:", "          RetryPolicy: {MaximumRetryAttempts: 0}\n          DeadLetterConfig:", "LoudAlerts tries for less"},
	{"a rule that is off for some", "MfaRule", "State: ENABLED", "State: !If [HasSlack, ENABLED, DISABLED]", "conditional (-want +got)"},
	{"a rule that sends a part", "MfaRule", "        - Id: audit\n", "        - Id: audit\n          InputPath: $.detail\n", "has Targets.InputPath"},
	{"a rule without dead letters", "MfaRule", "          DeadLetterConfig: {Arn: !GetAtt RuleDeadLetters.Arn}\n", "", "has a target without dead-letter queue"},
	{"an alert without dead letters", "LoudAlerts", "          DeadLetterConfig: {Arn: !GetAtt AlertDeadLetters.Arn}\n", "", "has a target without dead-letter queue"},
	{"a rule without a target", "AlarmPage", "Arn: !GetAtt PagerDuty.Arn", "Arn: ''", "AlarmPage"},
	{"a queue without dead letters", "AuditQueue", "      RedrivePolicy: {deadLetterTargetArn: !GetAtt AuditDeadLetters.Arn, maxReceiveCount: 10}\n", "", "what fails is not kept"},
	{"dead letters after one try", "ReenableQueue", "maxReceiveCount: 10", "maxReceiveCount: 1", "what fails is not kept"},
	{"dead letters after no end of tries", "ReenableQueue", "maxReceiveCount: 10", "maxReceiveCount: 1000", "what fails is not kept"},
	{"dead letters in another queue", "AuditQueue", "!GetAtt AuditDeadLetters.Arn", "!GetAtt TimerDeadLetters.Arn", "what fails is not kept"},
	{"dead letters that are refused", "AuditDeadLetters", "SqsManagedSseEnabled: true", "SqsManagedSseEnabled: true, RedriveAllowPolicy: {redrivePermission: denyAll}", "has RedriveAllowPolicy"},
	{"a queue that refuses what is long", "AuditQueue", "VisibilityTimeout: 360", "VisibilityTimeout: 360\n      MaximumMessageSize: 1024", "has MaximumMessageSize"},
	{"a queue that is read late", "AuditSource", "BatchSize: 10", "BatchSize: 10\n      MaximumBatchingWindowInSeconds: 300", "has MaximumBatchingWindowInSeconds"},
	{"the visibility is less than six times", "AuditQueue", "VisibilityTimeout: 360", "VisibilityTimeout: 300", "visible again after 300 s"},
	{"a longer timeout", "ReenableFunction", "Timeout: 60", "Timeout: 120", "visible again after 360 s"},
	{"no timeout", "AuditFunction", "      Timeout: 60\n", "", "AuditFunction has <nil> seconds"},
	{"no time for a batch", "AuditFunction", "Timeout: 60", "Timeout: 3", "AuditFunction has 3 seconds"},
	{"people wait for ever", "OverrideFunction", "Timeout: 20", "Timeout: 900", "OverrideFunction has 900 seconds"},
	{"no time for a sweep", "SweepFunction", "Timeout: 840", "Timeout: 60", "SweepFunction has 60 seconds"},
	{"a queue that is not encrypted", "ReenableQueue", "SqsManagedSseEnabled: true", "SqsManagedSseEnabled: false", "is not encrypted"},
	{"dead letters that are forgotten", "AuditDeadLetters", "MessageRetentionPeriod: 1209600", "MessageRetentionPeriod: 345600", "forgets early"},
	{"a queue that nobody watches", "Extra", "", "{Type: AWS::SQS::Queue, Properties: {QueueName: !Sub '${Name}-extra', MessageRetentionPeriod: 1209600, SqsManagedSseEnabled: true}}", "of Extra"},
	{"dead letters that nobody watches", "TimerDeadLettersAlarm", "", "", "no alarm on ApproximateNumberOfMessagesVisible of TimerDeadLetters"},
	{"a function without a role", "SweepFunction", "      Role: !GetAtt SweepRole.Arn\n", "", "SweepFunction has no role of the stack"},
	{"a function with code of others", "AuditFunction", "MemorySize: 256", "MemorySize: 256\n      Layers: ['arn:aws:lambda:us-east-1:444455556666:layer:x:1']", "has Layers"},
	{"a function that says nothing", "AuditFunction", "LogFormat: JSON", "LogFormat: JSON, ApplicationLogLevel: FATAL", "has LoggingConfig.ApplicationLogLevel"},
	{"a log group of another name", "AuditLogs", "${Name}-audit'", "${Name}-audits'", "has no log group of its name"},
	{"logs that are kept as long as alerts", "SweepLogs", "!Ref LogRetentionDays", "!Ref AlertRetentionDays", "has no log group of its name with a retention"},
	{"two functions share a role", "SweepFunction", "Role: !GetAtt SweepRole.Arn", "Role: !GetAtt AuditRole.Arn", "share a role"},
	{"a function of the account's role", "OverrideFunction", "Role: !GetAtt OverrideRole.Arn", "Role: arn:aws:iam::111122223333:role/Admin", "OverrideFunction has no role of the stack"},
	{"a function without a log group", "AuditLogs", "", "", "AuditLogs"},
	{"logs without an end", "AuditLogs", ", RetentionInDays: !Ref LogRetentionDays", "", "AuditFunction has no log group of its name with a retention"},
	{"a function without reserved concurrency", "AuditFunction", "      ReservedConcurrentExecutions: !Ref AuditConcurrency\n", "", "AuditFunction has <nil> processes reserved"},
	{"two sweeps at once", "SweepFunction", "ReservedConcurrentExecutions: 1", "ReservedConcurrentExecutions: 2", "runs once at a time"},
	{"a function that nobody knows", "ExtraFunction", "", "{Type: AWS::Lambda::Function, Properties: {FunctionName: x, Code: x, Role: !GetAtt AuditRole.Arn}}", "here only"},
	{"a function without an alarm", "OverrideErrorsAlarm", "", "", "no alarm on the Errors of OverrideFunction"},
	{"a function without its code", "AuditFunction", "Code: ../dist/audit.zip", "Code: ../dist/sweep.zip", "AuditFunction, Code"},
	{"a mapping of another queue", "AuditSource", "!GetAtt AuditQueue.Arn", "!GetAtt ReenableQueue.Arn", "AuditSource is of another queue or function"},
	{"a mapping that is off", "AuditSource", "BatchSize: 10", "BatchSize: 10\n      Enabled: false", "AuditSource does not take everything"},
	{"a mapping that says nothing of what failed", "ReenableSource", "      FunctionResponseTypes: [ReportBatchItemFailures]\n", "", "ReenableSource does not take everything"},
	{"a mapping is missing", "ReenableSource", "", "", "the sources are [AuditSource]"},
	{"a wrong environment", "AuditFunction", "RELATCH_DEAD_LETTERS_URL: !Ref AuditDeadLetters", "RELATCH_DEAD_LETTERS_URL: !Ref SweepDeadLetters", "needs and may not: sqs:SendMessage on"},
	{"timers' dead letters elsewhere", "ReenableFunction", "RELATCH_SCHEDULE_DEAD_LETTERS: !GetAtt TimerDeadLetters.Arn", "RELATCH_SCHEDULE_DEAD_LETTERS: !GetAtt SweepDeadLetters.Arn", "what timers fail to send goes to"},
	{"an environment that config does not know", "SweepFunction", "RELATCH_MODE", "RELATCH_MODUS", "SweepFunction"},
	{"a mode that is not the parameter's", "ReenableFunction", "RELATCH_MODE: !Ref Mode", "RELATCH_MODE: observe", "ReenableFunction is not told the mode"},
	{"an own role too few", "ReenableFunction", "!GetAtt SweepRole.Arn, ", "", "ReenableFunction: 8 pools, the own roles"},
	{"a deployment role that nobody gave", "AuditFunction", "RELATCH_DEPLOYMENT_ROLE: !Ref DeploymentRoleArn", "RELATCH_DEPLOYMENT_ROLE: ''", "the deployment role is"},
	{"a parameter that does nothing", "SweepFunction", "RELATCH_POLICY_KEY: !If [HasParameter, '', !Ref PolicyKey]", "RELATCH_POLICY_KEY: !If [HasParameter, '', name]", "SweepFunction is not told the parameters"},
	{"a factor that is always asked about", "SweepFunction", "          RELATCH_AUTH_FACTORS: !Ref AuthFactors\n", "", "SweepFunction is not told the parameters"},
	{"more than the quotas", "OverrideFunction", "RELATCH_QUOTA_SHARE: '0.05'", "RELATCH_QUOTA_SHARE: '0.5'", "of Cognito's quotas"},
	{"more processes than there are", "", "AuditConcurrency: {Type: Number, Default: 4, MinValue: 2, MaxValue: 20", "AuditConcurrency: {Type: Number, Default: 4, MinValue: 2, MaxValue: 900", "of the 1,000 processes"},

	// The ledger.
	{"a table that can be deleted", "Ledger", "DeletionProtectionEnabled: true", "DeletionProtectionEnabled: false", "protected against deletion"},
	{"a table that goes with the stack", "Ledger", "    DeletionPolicy: Retain\n", "", "the ledger is not retained"},
	{"a table that is replaced", "Ledger", "UpdateReplacePolicy: Retain", "UpdateReplacePolicy: Delete", "the ledger is not retained"},
	{"a table without recovery", "Ledger", "PointInTimeRecoveryEnabled: true", "PointInTimeRecoveryEnabled: false", "recoverable to any point"},
	{"a table that is not encrypted", "Ledger", "      SSESpecification: {SSEEnabled: true}\n", "", "the ledger is not encrypted"},
	{"a table that forgets", "Ledger", "      BillingMode:", "      TimeToLiveSpecification: {AttributeName: due, Enabled: true}\n      BillingMode:", "free of anything that ends"},
	{"a table with other keys", "Ledger", "{AttributeName: sk, KeyType: RANGE}", "{AttributeName: due, KeyType: RANGE}", "-dynamo.Table +template"},
	{"a provisioned table", "Ledger", "PAY_PER_REQUEST", "PROVISIONED", "-dynamo.Table +template"},
	{"a table that takes little", "Ledger", "      BillingMode:", "      OnDemandThroughput: {MaxWriteRequestUnits: 1}\n      BillingMode:", "has OnDemandThroughput.MaxWriteRequestUnits"},
	{"a table from which anybody deletes", "Ledger", "dynamodb:DeleteItem, ", "", "denied is false: dynamodb:DeleteItem"},
	{"a table that anybody writes", "Ledger", "Action: [dynamodb:PutItem, dynamodb:UpdateItem]", "Action: dynamodb:UpdateItem", "denied is false: dynamodb:PutItem"},
	{"a table that a function cannot write", "Ledger", "                    - !Sub 'arn:${AWS::Partition}:iam::${AWS::AccountId}:role/${Name}-${AWS::Region}-override'\n", "", "denied is true: dynamodb:PutItem"},
	{"a policy with an operator that nobody knows", "Ledger", "ArnNotEquals:", "ArnNotMatches:", "condition operator ArnNotMatches"},

	// Alarms, alerts, the sweep.
	{"an alarm without action", "AuditErrorsAlarm", "AlarmActions: [!Ref Topic], ", "", "AlarmActions are"},
	{"an alarm that does not end", "SweepAgeAlarm", ", OKActions: [!Ref Topic]", "", "OKActions are"},
	{"an alarm that is switched off", "OverdueAlarm", "Statistic:", "ActionsEnabled: false, Statistic:", "actions enabled false"},
	{"an alarm on another topic", "HeartbeatAlarm", "AlarmActions: [!Ref Topic]", "AlarmActions: [!Ref NoticeTopic]", "AlarmActions are"},
	{"an alarm that rings late", "AuditDeadLettersAlarm", "Threshold: 0", "Threshold: 100", "AuditDeadLettersAlarm rings at"},
	{"an alarm over a day", "SweepErrorsAlarm", "Period: 300", "Period: 86400", "SweepErrorsAlarm rings at"},
	{"an alarm on the least", "ReenableAgeAlarm", "Statistic: Maximum", "Statistic: Minimum", "ReenableAgeAlarm rings at"},
	{"an alarm the other way round", "OverdueAlarm", "GreaterThanThreshold", "LessThanThreshold", "OverdueAlarm"},
	{"an alarm on another queue", "AuditAgeAlarm", "!GetAtt AuditQueue.QueueName", "!GetAtt ReenableQueue.QueueName", "no alarm on ApproximateAgeOfOldestMessage of AuditQueue"},
	{"an alarm that is called after another queue", "TimerDeadLettersAlarm", "AlarmName: !Sub '${Name}-timer-dead-letters'", "AlarmName: !Sub '${Name}-sweep-dead-letters'", "and is on relatch-timer-dead-letters"},
	{"an alarm that tells nobody for some", "OverdueAlarm", "AlarmActions: [!Ref Topic]", "AlarmActions: [!If [HasPagerDuty, !Ref Topic, !Ref 'AWS::NoValue']]", "conditional (-want +got)"},
	{"an alarm on a metric that nobody says", "UnrestorableAlarm", "OverridesUnrestorable", "Unrestorable", "which no function says"},
	{"a heartbeat that is not missed", "HeartbeatAlarm", "TreatMissingData: breaching", "TreatMissingData: notBreaching", "HeartbeatAlarm"},
	{"an alarm that does not page", "OverdueAlarm", "AlarmName: !Sub '${Name}-overdue'", "AlarmName: overdue", "so nobody is paged"},
	{"an alarm that the dashboard lacks", "Dashboard", `"${Alarm}timer-dead-letters", `, "", "TimerDeadLettersAlarm is not shown"},
	{"a dashboard that is no JSON", "Dashboard", `{"start": "-PT24H", `, `{"start": "-PT24H" `, "theDashboardShowsWhatIsMeasured"},
	{"a dashboard of another function", "Dashboard", `"OverridesOverdue", "function", "sweep"`, `"OverridesOverdue", "function", "audit"`, "is shown, and watched is another"},
	{"a dashboard of another queue", "Dashboard", "${AuditQueue.QueueName}", "${AuditDeadLetters.QueueName}", "is shown, and watched is another"},
	{"a dashboard of the least", "Dashboard", `"stat": "Maximum"`, `"stat": "Minimum"`, "shown is the Minimum"},
	{"a dashboard of another Region", "Dashboard", `"region": "${AWS::Region}"`, `"region": "us-east-1"`, "of us-east-1"},
	{"alerts that are not kept", "AlertArchive", "", "", "no archive keeps every alert"},
	{"a topic that is not encrypted", "Topic", ", KmsMasterKeyId: !Ref TopicKey", "", "Topic is encrypted with <nil>"},
	{"a topic under the key of AWS", "NoticeTopic", "KmsMasterKeyId: !Ref TopicKey", "KmsMasterKeyId: alias/aws/sns", "NoticeTopic is encrypted with alias/aws/sns"},
	{"a key that is never turned over", "TopicKey", "EnableKeyRotation: true", "EnableKeyRotation: false", "theTopicsAreEncrypted"},
	{"a key that is off", "TopicKey", "EnableKeyRotation: true", "EnableKeyRotation: true\n      Enabled: false", "has Enabled"},
	{"a key that the guardrail does not know", "TopicKeyAlias", "alias/${Name}", "alias/${Name}-topics", "its alias"},
	{"nobody is mailed", "Email", "", "", "subscriptions (-want +got)"},
	{"somebody is mailed a part", "Email", "Protocol: email,", "Protocol: email, FilterPolicy: {severity: [critical]},", "has FilterPolicy.severity"},
	{"an alert that reaches nobody", "LoudAlerts", "severity: [critical, warning]", "severity: [critical]", "topic gets 0 messages"},
	{"an alert that comes twice", "QuietAlerts", "{severity: [info]}", "{severity: [info, warning]}", "topic gets 2 messages"},
	{"on-call is told of what administrators do", "QuietAlerts", "audience: [on_call], ", "", "topic gets 1 messages, want 0"},
	{"administrators are not told", "NoticeAlerts", "audience: [administrators]", "audience: [admins]", "notices gets 0 messages, want 1"},
	{"a page for every warning", "Page", "severity: [critical]", "severity: [critical, warning]", "PagerDuty is told"},
	{"a page that is not resolved", "PageResolved", "", "", "PagerDuty is told"},
	{"a replay pages", "Page", ", replay-name: [{exists: false}]", "", "a replay is sent to"},
	{"a page without its name", "Page", "dedup_key", "dedupKey", "to pagerduty"},
	{"an alarm's page without its text", "AlarmPage", `"summary": <summary>, `, "", "relatch-overdue ALARM"},
	{"Slack is told half of it", "SlackLoud", `"text": <happened>`, `"text": "Something"`, "block 2 says"},
	{"Slack is not shown the token", "SlackConnection", "Bearer ${SlackToken}", "${SlackToken}", "SlackConnection, authorised by"},
	{"a key that locks its owner out", "TopicKey", "Action: 'kms:*'", "Action: kms:DescribeKey", "no key to its key"},
	{"a text that breaks the JSON", "SlackLoud", `"text": <title>, "blocks"`, `"text": "<title>", "blocks"`, "stands inside a string"},
	{"a name that calls the channel", "SlackQuiet", `"type": "plain_text", "text": <happened>`, `"type": "mrkdwn", "text": <happened>`, "could call the channel"},
	{"a path that not every alert has", "QuietAlerts", "alert: $.detail}", "alert: $.detail, user: $.detail.user.username}", "there is no $.detail.user.username"},
	{"a page that goes elsewhere", "PagerDuty", "events.pagerduty.com", "example.com", "destinations (-want +got)"},
	{"other accounts' alerts go round", "ForwardedAlerts", "account: [!Ref 'AWS::AccountId'], ", "", "another account's alert is forwarded again"},
	{"other Regions' alerts go round", "ForwardedAlerts", "region: [!Ref 'AWS::Region'], ", "", "another region's alert is forwarded again"},
	{"whatever is on the bus pages", "Page", "source: [relatch], ", "", "another source is sent to pagerduty"},
	{"whatever is like an alarm pages", "AlarmPage", "source: [aws.cloudwatch], ", "", "what has another source pages"},
	{"other alarms are resolved", "AlarmPageResolved", "alarmName: [{prefix: !Sub '${Name}-'}], ", "", "other-overdue OK"},
	{"a rule on the wrong bus", "MfaRule", "State: ENABLED", "State: ENABLED\n      EventBusName: !GetAtt AlertBus.Name", "where CloudTrail sends nothing"},
	{"an alarm that only some have", "OverdueAlarm", "Type: AWS::CloudWatch::Alarm,", "Type: AWS::CloudWatch::Alarm, Condition: HasSlack,", "conditional (-want +got)"},
	{"Slack without being asked", "", "HasSlack: !Not [!Equals [!Ref SlackToken, '']]", "HasSlack: !Not [!Equals [!Ref SlackToken, none]]", "SlackToken brings"},
	{"PagerDuty only with Slack", "", "HasPagerDuty: !Not [!Equals [!Ref PagerDutyRoutingKey, '']]", "HasPagerDuty: !Not [!Equals [!Ref SlackToken, '']]", "PagerDutyRoutingKey brings"},
	{"a secret in the open", "Slack", "InvocationEndpoint: https://slack.com/api/chat.postMessage", "InvocationEndpoint: !Sub 'https://slack.com/?token=${SlackToken}'", "SlackToken is in Slack"},
	{"the sweep is off", "SweepSchedule", "State: ENABLED", "State: DISABLED", "is switched on"},
	{"the sweep comes rarely", "SweepSchedule", "rate(15 minutes)", "rate(1 day)", "runs as often as the worker counts on"},
	{"the sweep ends one day", "SweepSchedule", "State: ENABLED", "State: ENABLED\n      EndDate: '2027-01-01T00:00:00Z'", "is switched on"},
	{"the sweep overlaps", "SweepFunction", "Timeout: 840", "Timeout: 900", "ends before the next one"},
	{"a failed sweep is kept elsewhere", "SweepInvocation", "!GetAtt SweepDeadLetters.Arn", "!GetAtt TimerDeadLetters.Arn", "keeps what failed"},
	{"a failed sweep is tried again", "SweepInvocation", "$LATEST", "live", "is not tried again by Lambda"},
	{"the sweep is in the timers' group", "SweepSchedule", "GroupName: !Ref SweepGroup", "GroupName: !Ref TimerGroup", "is in a group of its own"},

	// Parameters, outputs.
	{"a transform", "", "Metadata:", "Transform: AWS::Serverless-2016-10-31\nMetadata:", "the template has the transform"},
	{"a parameter that is in no group", "", "DeploymentRoleArn, Mode, Name]", "DeploymentRoleArn, Mode]", "the parameter Name is in 0 groups"},
	{"a parameter that is not explained", "", "    Description: How long logs are kept.}", "    Description: ''}", "LogRetentionDays is described as"},
	{"a parameter that takes anything", "", `AllowedPattern: '^arn:aws[a-z-]*:cloudtrail:[a-z0-9-]+:[0-9]{12}:trail/[A-Za-z0-9._-]+$'`, `AllowedPattern: '.*'`, "TrailArn may be"},
	{"a parameter that takes too much", "", "MaxValue: 0.31", "MaxValue: 1", "QuotaShare may be"},
	{"observing by default", "", "Default: enforce", "Default: observe", "gets the mode observe"},
	{"a secret that is shown", "", "Default: '', NoEcho: true, AllowedPattern: '^$|^[0-9A-Za-z]{32}$'", "Default: '', AllowedPattern: '^$|^[0-9A-Za-z]{32}$'", "PagerDutyRoutingKey is shown"},
	{"alarms that go nowhere", "", "      - Assert: !Not [!And [!Equals [!Ref AlertEmail, ''], !Equals [!Ref PagerDutyRoutingKey, '']]]", "      - Assert: !Not [!Equals [!Ref Name, '']]", "[AlertEmail=] is refused by []"},
	{"names that a StackSet's are too long for", "AuditRole", "RoleName: !Sub '${Name}-", "RoleName: !Sub '${AWS::StackName}-", "64 fit"},
	{"names that another Region has", "AuditorPolicy", "${Name}-${AWS::Region}-auditor", "${Name}-auditor", "nnn-auditor"},
	{"a condition the wrong way round", "", "HasEmail: !Not [!Equals [!Ref AlertEmail, '']]", "HasEmail: !Equals [!Ref AlertEmail, '']", "subscriptions (-want +got)"},
	{"an output that the command needs", "", "  OverrideUrl: {Description: Where people ask., Value: !GetAtt OverrideUrl.FunctionUrl}\n", "", "OverrideUrl is <nil>"},
	{"an output of another queue", "", "Description: The queue of deliveries., Value: !Ref AuditQueue", "Description: The queue of deliveries., Value: !Ref ReenableQueue", "AuditQueueUrl is"},
	{"an output that lacks a function", "", "!Ref SweepFunction, !Ref OverrideFunction]]", "!Ref SweepFunction]]", "OverrideFunction is none of"},
	{"an output of other queues", "", "!Ref SweepDeadLetters, !Ref AlertDeadLetters]]", "!Ref SweepDeadLetters]]", "the dead letters (-there are +output)"},
	{"the central account is told of everybody", "", `"Principal": {"AWS": "${AlertRole.Arn}"}`, `"Principal": "*"`, "the statement for the central bus"},
}

// railMistakes are those in the guardrail.
var railMistakes = []mistake{
	{"an action is missing", "", `"iam:Put*", `, "", "anybody may: iam:PutRolePolicy"},
	{"a resource is missing", "", `"arn:*:iam::*:policy/relatch-*",`, "", "anybody may: iam:CreatePolicyVersion"},
	{"another resource is missing", "", `"arn:*:events:*:*:api-destination/relatch-*",`, "", "anybody may: events:DeleteApiDestination"},
	{"the key is left to anybody", "", `"kms:Schedule*"`, `"kms:Create*"`, "anybody may: kms:ScheduleKeyDeletion"},
	{"the topic's subscriptions are left to anybody", "", `"sns:Set*", `, "", "anybody may: sns:Set"},
	{"roles may be passed by anybody", "", `"iam:PassRole",`, "", "anybody may: iam:PassRole"},
	{"messages may be taken by anybody", "", `"sqs:DeleteMessage", `, "", "anybody may: sqs:DeleteMessage"},
	{"alerts may be sent by anybody", "", `"events:PutEvents",`, "", "anybody may: events:PutEvents"},
	{"alarms may be muted by anybody", "", `"cloudwatch:Put*"`, `"cloudwatch:PutMetricAlarm"`, "anybody may: cloudwatch:PutAlarmMuteRule"},
	{"mappings may be changed by anybody", "", `"lambda:UpdateEventSourceMapping"`, `"lambda:GetEventSourceMapping"`, "anybody may: lambda:UpdateEventSourceMapping"},
	{"override may be invoked around its URL", "", `"BoolIfExists"`, `"Bool"`, "around its URL"},
	{"nobody may ask", "", `"lambda:InvokedViaFunctionUrl": "false"`, `"lambda:InvokedViaFunctionUrl": "true"`, "URL"},
	{"every relatch-deploy may", "", `"arn:*:iam::*:role/relatch-deploy"`, `"arn:*:iam::*:*/relatch-deploy"`, "anybody may"},
	{"the deployment role may not", "", `role/relatch-deploy"`, `role/deploy"`, "the deployment role"},
	{"the functions may not", "", `"arn:*:iam::*:role/relatch-*-*"`, `"arn:*:iam::*:role/relatch-worker"`, "may not: dynamodb:PutItem"},
	{"everybody may not", "", `"Condition": {"ArnNotLike": {"aws:PrincipalArn": "arn:*:iam::*:role/relatch-*-*"}}`, `"Condition": {}`, "denies everybody, or nothing"},
	{"what is not ours is denied too", "", `"arn:*:sqs:*:*:relatch-*"`, `"arn:*:sqs:*:*:*"`, "what is not ours is not ours to deny"},
	{"an operator that nobody knows", "", `"ForAnyValue:StringEquals"`, `"ForAnyValue:StringMatches"`, "condition operator ForAnyValue:StringMatches"},
	{"an action that does not exist", "", `"sqs:PurgeQueue"`, `"sqs:EmptyQueue"`, "there is no action sqs:EmptyQueue"},
	{"it allows", "", `"Effect": "Deny"`, `"Effect": "Allow"`, "denies everybody, or nothing"},
	{"it is too long", "", `"Sid": "AndItsKey"`, `"Sid": "` + strings.Repeat("x", 2000) + `"`, "at most 5120 fit"},
}

var nextID = regexp.MustCompile(`(?m)^(  \S|\S)`)

// made is the text with the mistake in it, or "" if there is no such place.
func (m mistake) made(text string) string {
	start, end := 0, len(text)
	if m.in != "" {
		if start = strings.Index(text, "\n  "+m.in+":") + 1; start == 0 {
			return strings.Replace(text, "\nResources:\n", "\nResources:\n  "+m.in+": "+m.to+"\n", 1)
		}
		if at := nextID.FindStringIndex(text[start+1:]); at != nil {
			end = start + 1 + at[0]
		}
	}
	part := text[start:end]
	switch {
	case m.from == "" && m.to == "":
		return text[:start] + text[end:]
	case !strings.Contains(part, m.from):
		return ""
	default:
		return text[:start] + strings.Replace(part, m.from, m.to, 1) + text[end:]
	}
}

// TestSeededMistakesAreFound makes one mistake at a time, and has the checks name it.
func TestSeededMistakesAreFound(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the checks some two hundred times")
	}
	installed(t)
	template, err := os.ReadFile("template.yaml")
	if err != nil {
		t.Fatal(err)
	}
	rail, err := os.ReadFile("guardrail.json")
	if err != nil {
		t.Fatal(err)
	}
	seed := func(m mistake, template, rail string) {
		t.Run(m.what, func(t *testing.T) {
			if template == "" || rail == "" {
				t.Fatalf("there is no %q in %s", m.from, m.in)
			}
			in, err := parse(template, rail)
			if err != nil {
				t.Fatal(err)
			}
			var all []string
			for _, c := range checks {
				found := c.problems(t, in)
				if slices.ContainsFunc(found, func(problem string) bool { return strings.Contains(problem, m.found) }) {
					return
				}
				all = append(all, found...)
			}
			t.Errorf("nobody says %q, but:\n%s", m.found, strings.Join(all[:min(len(all), 8)], "\n"))
		})
	}
	for _, m := range mistakes {
		seed(m, m.made(string(template)), string(rail))
	}
	for _, m := range railMistakes {
		seed(m, string(template), m.made(string(rail)))
	}
}
