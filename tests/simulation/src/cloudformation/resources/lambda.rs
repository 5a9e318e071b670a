//! Lambda: functions, their event sources, and who may invoke them.

use serde_json::Value;

use super::{Before, Here, Kind, Made, Physical, Properties, not_taken};
use crate::regional::lambda::{Configuration, Permission, Source};
use crate::sqs::Address;
use crate::state::State;

pub(super) fn kind(name: &str) -> Option<Kind> {
    Some(match name {
        "AWS::Lambda::Function" => Kind { put: function, delete: delete_function },
        "AWS::Lambda::EventSourceMapping" => Kind { put: source, delete: delete_source },
        "AWS::Lambda::Permission" => Kind { put: permission, delete: delete_permission },
        "AWS::Lambda::EventInvokeConfig" => Kind { put: invoke, delete: |_, _, _| {} },
        _ => return None,
    })
}

fn number(
    properties: &Properties,
    name: &str,
    least: i64,
    most: i64,
) -> Result<Option<i64>, String> {
    let Some(text) = properties.text(name) else { return Ok(None) };
    let number = text.parse().ok().filter(|number| (least..=most).contains(number));
    number.map(Some).ok_or_else(|| format!("{name} `{text}` is not from {least} to {most}"))
}

fn function(
    state: &mut State,
    here: Here<'_>,
    properties: &Properties,
    before: Option<&Before<'_>>,
) -> Made {
    properties.only(&[
        "Architectures",
        "Code",
        "Description",
        "Environment",
        "FunctionName",
        "Handler",
        "LoggingConfig",
        "MemorySize",
        "ReservedConcurrentExecutions",
        "Role",
        "Runtime",
        "Timeout",
    ])?;
    let name = here.name(state, properties.text("FunctionName"), before);
    let role = properties.required("Role")?;
    let role_name = role.rsplit('/').next().unwrap_or_default();
    let trusts = state.iam(here.account).roles.get(role_name).is_some_and(|role| {
        crate::policy::list(role.trust.get("Statement")).into_iter().any(|statement| {
            statement.pointer("/Principal/Service").and_then(Value::as_str)
                == Some("lambda.amazonaws.com")
        })
    });
    if !trusts {
        return Err("The role defined for the function cannot be assumed by Lambda.".to_owned());
    }
    if let Some(log) = properties.object("LoggingConfig")? {
        log.only(&["LogFormat", "LogGroup"])?;
    }
    let mut environment = std::collections::BTreeMap::new();
    if let Some(held) = properties.object("Environment")? {
        held.only(&["Variables"])?;
        let variables = held.object("Variables")?.unwrap_or_default();
        for key in variables.0.keys() {
            environment.insert(key.clone(), variables.required(key)?);
        }
    }
    let configuration = Configuration {
        role,
        runtime: properties.required("Runtime")?,
        architectures: properties.texts("Architectures")?,
        timeout: number(properties, "Timeout", 1, 900)?.unwrap_or(3),
        memory: number(properties, "MemorySize", 128, 10_240)?.unwrap_or(128),
        environment,
    };
    let reserved = number(properties, "ReservedConcurrentExecutions", 0, 900)?;
    let lambda = &mut state.regional(here.account, here.region).lambda;
    let is_there = lambda.functions.contains_key(&name);
    not_taken("AWS::Lambda::Function", &name, is_there, before)?;
    let function = lambda.functions.entry(name.clone()).or_default();
    function.reserved = reserved;
    function.configuration = Some(configuration);
    let arn = format!("arn:aws:lambda:{}:{}:function:{name}", here.region, here.account);
    Ok(Physical::new(name, [("Arn", arn)]))
}

fn delete_function(state: &mut State, here: Here<'_>, before: &Before<'_>) {
    let lambda = &mut state.regional(here.account, here.region).lambda;
    lambda.functions.remove(&before.physical.id);
}

/// Whether a function of this name or ARN is there; its name.
fn named(state: &mut State, here: Here<'_>, properties: &Properties) -> Result<String, String> {
    let given = properties.required("FunctionName")?;
    let name = given.rsplit(':').next().unwrap_or_default().to_owned();
    let lambda = &state.regional(here.account, here.region).lambda;
    if lambda.functions.contains_key(&name) {
        return Ok(name);
    }
    Err(format!("Function not found: {given}"))
}

fn source(
    state: &mut State,
    here: Here<'_>,
    properties: &Properties,
    before: Option<&Before<'_>>,
) -> Made {
    properties.only(&[
        "BatchSize",
        "EventSourceArn",
        "FunctionName",
        "FunctionResponseTypes",
        "MaximumBatchingWindowInSeconds",
        "ScalingConfig",
    ])?;
    let function = named(state, here, properties)?;
    let arn = properties.required("EventSourceArn")?;
    let queue = Address::of_arn(&arn).ok_or_else(|| format!("{arn} is no queue"))?;
    let held = state.sqs.queues.get(&queue);
    let visibility = held.ok_or_else(|| format!("there is no queue {arn}"))?.visibility.as_secs();
    let window = number(properties, "MaximumBatchingWindowInSeconds", 0, 300)?.unwrap_or(0);
    let batch = number(properties, "BatchSize", 1, 10_000)?.unwrap_or(10);
    // "Batch size over 10: the window is at least a second" (Lambda developer
    // guide, "Creating and configuring an Amazon SQS event source mapping").
    if batch > 10 && window < 1 {
        return Err(
            "MaximumBatchingWindowInSeconds must be at least 1 with that BatchSize".to_owned()
        );
    }
    let types = properties.texts("FunctionResponseTypes")?;
    if let Some(unknown) = types.iter().find(|it| *it != "ReportBatchItemFailures") {
        return Err(format!("{unknown} is no type of response"));
    }
    let at_once = match properties.object("ScalingConfig")? {
        None => None,
        Some(held) => {
            held.only(&["MaximumConcurrency"])?;
            number(&held, "MaximumConcurrency", 2, 1_000)?
        }
    };
    let lambda = &mut state.regional(here.account, here.region).lambda;
    let timeout = lambda.functions.get(&function).and_then(|it| it.configuration.as_ref());
    let timeout = timeout.map_or(3, |configuration| configuration.timeout);
    // "Queue visibility timeout: 30 seconds is less than Function timeout".
    if visibility < timeout {
        return Err(format!(
            "Queue visibility timeout: {visibility} seconds is less than Function timeout: {timeout} seconds"
        ));
    }
    let made = Source {
        queue: arn,
        function,
        batch: usize::try_from(batch).unwrap_or(10),
        window,
        at_once,
        reports_failures: !types.is_empty(),
    };
    let id = match before {
        Some(before) => before.physical.id.clone(),
        None => format!("{:08x}-0000-4000-8000-000000000000", state.unique()),
    };
    let lambda = &mut state.regional(here.account, here.region).lambda;
    lambda.sources.insert(id.clone(), made);
    Ok(Physical::new(id.clone(), [("Id", id)]))
}

fn delete_source(state: &mut State, here: Here<'_>, before: &Before<'_>) {
    let lambda = &mut state.regional(here.account, here.region).lambda;
    lambda.sources.remove(&before.physical.id);
}

fn permission(
    state: &mut State,
    here: Here<'_>,
    properties: &Properties,
    before: Option<&Before<'_>>,
) -> Made {
    properties.only(&["Action", "FunctionName", "Principal", "SourceArn"])?;
    let function = named(state, here, properties)?;
    if properties.required("Action")? != "lambda:InvokeFunction" {
        return Err("the simulation models the permission to invoke only".to_owned());
    }
    let principal = properties.required("Principal")?;
    let made = Permission { principal, source: properties.text("SourceArn") };
    let id = here.name(state, None, before);
    let lambda = &mut state.regional(here.account, here.region).lambda;
    if let Some(function) = lambda.functions.get_mut(&function) {
        function.permissions.insert(id.clone(), made);
    }
    Ok(Physical::new(id, []))
}

fn delete_permission(state: &mut State, here: Here<'_>, before: &Before<'_>) {
    let lambda = &mut state.regional(here.account, here.region).lambda;
    for function in lambda.functions.values_mut() {
        function.permissions.remove(&before.physical.id);
    }
}

/// How often an event is tried again: nothing here fails by itself.
fn invoke(
    state: &mut State,
    here: Here<'_>,
    properties: &Properties,
    before: Option<&Before<'_>>,
) -> Made {
    properties.only(&[
        "FunctionName",
        "MaximumEventAgeInSeconds",
        "MaximumRetryAttempts",
        "Qualifier",
    ])?;
    named(state, here, properties)?;
    number(properties, "MaximumEventAgeInSeconds", 60, 21_600)?;
    number(properties, "MaximumRetryAttempts", 0, 2)?;
    Ok(Physical::new(here.name(state, None, before), []))
}
