//! Evidence from inside an instance: commands that Systems Manager's agent runs
//! and whose output it writes to the bucket itself, with the instance's profile.
//!
//! SendCommand takes no token that would make it safe to repeat. So a command
//! is found by its comment, which names the response, before one is sent, and
//! the SDK does not retry the call.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_ssm::config::Builder;
use aws_sdk_ssm::config::retry::RetryConfig;
use aws_sdk_ssm::types::{
    CommandStatus, InstanceInformationStringFilter, PingStatus, PlatformType,
};
use serde::{Deserialize, Serialize};

use crate::contract::ActionContext;
use crate::support::evidence::location::EvidenceLocation;
use firebreak_client::sdk_error::from_sdk;
use firebreak_model::error::{ActionError, ErrorKind};

/// In seconds.
const DELIVERED_WITHIN: i32 = 600;

/// Read-only: processes, connections, what starts automatically, sign-ins.
const LINUX: &[&str] = &[
    "date -u; uname -a; uptime",
    "echo '# processes'; ps auxwwf",
    "echo '# sockets'; ss -tunap || netstat -tunap",
    "echo '# open files'; lsof -nP 2>/dev/null | head -n 5000",
    "echo '# users'; w; last -n 100; cat /etc/passwd",
    "echo '# scheduled'; for user in $(cut -d: -f1 /etc/passwd); do crontab -l -u \"$user\" 2>/dev/null; done; cat /etc/crontab /etc/cron.d/* 2>/dev/null; systemctl list-timers --all --no-pager",
    "echo '# services'; systemctl list-units --type=service --all --no-pager",
    "echo '# modules'; lsmod",
    "echo '# network'; ip addr; ip route; ip neigh; cat /etc/hosts /etc/resolv.conf",
    "echo '# keys'; find /root /home -maxdepth 3 -name authorized_keys -exec ls -la {} \\; -exec cat {} \\; 2>/dev/null",
    "echo '# temporary files'; ls -laR /tmp /var/tmp /dev/shm 2>/dev/null | head -n 2000",
    "echo '# logs'; journalctl --no-pager -n 2000; tail -n 1000 /var/log/auth.log /var/log/secure /var/log/syslog /var/log/messages 2>/dev/null",
    "true",
];

const WINDOWS: &[&str] = &[
    "Get-Date; systeminfo",
    "Get-CimInstance Win32_Process | Select-Object ProcessId,ParentProcessId,Name,CommandLine | Format-List",
    "Get-NetTCPConnection | Format-Table -AutoSize; Get-NetUDPEndpoint | Format-Table -AutoSize",
    "quser; Get-LocalUser | Format-Table; Get-LocalGroupMember Administrators",
    "Get-ScheduledTask | Format-Table TaskPath,TaskName,State",
    "Get-Service | Format-Table -AutoSize; Get-CimInstance Win32_StartupCommand | Format-List",
    "driverquery /v",
    "ipconfig /all; route print; arp -a; Get-DnsClientCache",
    "Get-WinEvent -LogName Security -MaxEvents 500 | Format-List",
    "Get-WinEvent -LogName System -MaxEvents 500 | Format-List",
    "exit 0",
];

/// How Systems Manager reaches the instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Managed {
    /// A shell runs the commands.
    Shell,
    /// PowerShell runs them.
    PowerShell,
    /// It is managed, but its agent does not answer.
    Silent,
    /// It is not managed.
    No,
}

/// One command: its name under the prefix, its document, its parameters.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct CommandRequest {
    pub(crate) name: &'static str,
    pub(crate) document: String,
    pub(crate) parameters: BTreeMap<String, Vec<String>>,
}

/// A command that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) id: String,
    pub(crate) status: Option<CommandStatus>,
}

impl Sent {
    pub(crate) fn is_under_way(&self) -> bool {
        matches!(
            self.status,
            Some(CommandStatus::Pending | CommandStatus::InProgress | CommandStatus::Cancelling)
        )
    }

    pub(crate) fn status(&self) -> &str {
        self.status.as_ref().map_or("of unknown status", CommandStatus::as_str)
    }
}

/// The commands for an instance; none for one that Systems Manager cannot reach.
pub(crate) fn wanted(
    managed: Managed,
    own: Option<&[String]>,
    memory: Option<(&str, &BTreeMap<String, Vec<String>>)>,
) -> Vec<CommandRequest> {
    let (document, built_in) = match managed {
        Managed::Shell => ("AWS-RunShellScript", LINUX),
        Managed::PowerShell => ("AWS-RunPowerShellScript", WINDOWS),
        Managed::Silent | Managed::No => return Vec::new(),
    };
    let built_in = || built_in.iter().map(|&line| line.to_owned()).collect();
    let lines: Vec<String> = own.map_or_else(built_in, <[String]>::to_vec);
    // Memory first, because the commands change it.
    let memory = memory.map(|(document, parameters)| CommandRequest {
        name: "memory",
        document: document.to_owned(),
        parameters: parameters.clone(),
    });
    let commands = CommandRequest {
        name: "commands",
        document: document.to_owned(),
        parameters: BTreeMap::from([("commands".to_owned(), lines)]),
    };
    let commands = (own.is_none_or(|own| !own.is_empty())).then_some(commands);
    memory.into_iter().chain(commands).collect()
}

fn unbuilt(error: impl std::fmt::Display) -> ActionError {
    ActionError::new(ErrorKind::Failed, format!("cannot build a call: {error}"))
}

/// Whether and how Systems Manager reaches the instance.
pub(crate) async fn managed(
    context: ActionContext<'_>,
    instance_id: &str,
) -> Result<Managed, ActionError> {
    let filter = InstanceInformationStringFilter::builder()
        .key("InstanceIds")
        .values(instance_id)
        .build()
        .map_err(unbuilt)?;
    let ssm = context.account.ssm().await;
    let output = ssm.describe_instance_information().filters(filter).send().await;
    let output = output.map_err(|error| from_sdk("ssm:DescribeInstanceInformation", &error))?;
    let Some(found) = output.instance_information_list().first() else { return Ok(Managed::No) };
    Ok(match (found.ping_status(), found.platform_type()) {
        (Some(PingStatus::Online), Some(PlatformType::Windows)) => Managed::PowerShell,
        (Some(PingStatus::Online), _) => Managed::Shell,
        (_, _) => Managed::Silent,
    })
}

/// A comment has 100 characters at most (Systems Manager API reference, SendCommand).
fn comment(context: ActionContext<'_>, wanted: &CommandRequest) -> String {
    let comment = format!("firebreak {} {}", context.response, wanted.name);
    comment.chars().take(100).collect()
}

/// The command that this response sent already, if it did.
pub(crate) async fn find(
    context: ActionContext<'_>,
    instance_id: &str,
    wanted: &CommandRequest,
) -> Result<Option<Sent>, ActionError> {
    let comment = comment(context, wanted);
    let mut next = None;
    loop {
        let page = context
            .account
            .ssm()
            .await
            .list_commands()
            .instance_id(instance_id)
            .set_next_token(next)
            .send()
            .await
            .map_err(|error| from_sdk("ssm:ListCommands", &error))?;
        let found = page.commands().iter().find(|it| it.comment() == Some(comment.as_str()));
        if let Some(found) = found {
            let id = found.command_id().unwrap_or_default().to_owned();
            return Ok(Some(Sent { id, status: found.status().cloned() }));
        }
        next = page.next_token().filter(|token| !token.is_empty()).map(str::to_owned);
        if next.is_none() {
            return Ok(None);
        }
    }
}

/// Sends a command unless it was sent already; its id.
pub(crate) async fn send(
    context: ActionContext<'_>,
    instance_id: &str,
    wanted: &CommandRequest,
    place: &EvidenceLocation,
) -> Result<String, ActionError> {
    if let Some(sent) = find(context, instance_id, wanted).await? {
        return Ok(sent.id);
    }
    let parameters: HashMap<String, Vec<String>> = wanted.parameters.clone().into_iter().collect();
    let call = context
        .account
        .ssm()
        .await
        .send_command()
        .instance_ids(instance_id)
        .document_name(&wanted.document)
        .set_parameters((!parameters.is_empty()).then_some(parameters))
        .comment(comment(context, wanted))
        // An agent that does not fetch the command by then cannot be reached. The
        // default is an hour, for which the response would wait.
        .timeout_seconds(DELIVERED_WITHIN)
        .output_s3_bucket_name(&place.bucket)
        .output_s3_key_prefix(place.key(wanted.name))
        .customize()
        .config_override(Builder::default().retry_config(RetryConfig::disabled()));
    let output = call.send().await.map_err(|error| from_sdk("ssm:SendCommand", &error))?;
    let id = output.command().and_then(|command| command.command_id());
    Ok(id.unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_are_those_of_the_platform_and_memory_is_collected_first() {
        let names = |managed, own: Option<&[String]>, memory: Option<&str>| {
            let none = BTreeMap::new();
            let memory = memory.map(|document| (document, &none));
            let wanted = wanted(managed, own, memory);
            wanted.into_iter().map(|it| it.document).collect::<Vec<_>>()
        };
        assert_eq!(names(Managed::Shell, None, None), ["AWS-RunShellScript"]);
        assert_eq!(names(Managed::PowerShell, None, None), ["AWS-RunPowerShellScript"]);
        assert_eq!(names(Managed::Shell, None, Some("Avml")), ["Avml", "AWS-RunShellScript"]);
        assert_eq!(names(Managed::Shell, Some(&[]), Some("Avml")), ["Avml"]);
        assert!(names(Managed::No, None, Some("Avml")).is_empty());
        assert!(names(Managed::Silent, None, None).is_empty());
    }
}
