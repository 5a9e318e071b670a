//! The state and the attributes of instances.

use super::answers::{Answer, missing, refuse, required, returned_true};
use super::describe::{flag, wanted};
use super::form::Form;
use super::model::{Ec2, Instance};
use super::{Refusal, xml};

const NOT_FOUND: &str = "InvalidInstanceID.NotFound";

/// StartInstances, StopInstances and TerminateInstances. All of the instances
/// or none: a protected one fails the whole call.
pub(super) fn change_state(ec2: &mut Ec2, action: &str, form: &Form) -> Answer {
    if form.list("InstanceId").is_empty() {
        return Err(missing("InstanceId"));
    }
    let ids = wanted(form, "InstanceId", &ec2.instances, NOT_FOUND)?;
    for id in &ids {
        if let Some(instance) = ec2.instances.get(id) {
            permitted(action, id, instance)?;
        }
    }
    let mut out = String::new();
    xml::set(&mut out, "instancesSet", &ids, |out, id| {
        let before = ec2.instances.get(id).map(|it| it.state.clone()).unwrap_or_default();
        match action {
            "StartInstances" => start(ec2, id),
            "StopInstances" => stop(ec2, id),
            _ => ec2.terminate(id),
        }
        let after = ec2.instances.get(id).map(|it| it.state.clone()).unwrap_or_default();
        xml::text(out, "instanceId", id);
        for (name, state) in [("currentState", after), ("previousState", before)] {
            xml::element(out, name, |out| xml::text(out, "name", &state));
        }
    });
    Ok(out)
}

/// The keys under which an instance's volumes are encrypted.
pub(crate) fn keys_of(ec2: &Ec2, id: &str) -> Vec<String> {
    let volumes = ec2.volumes.values().filter(|it| it.instance.as_deref() == Some(id));
    volumes.filter_map(|it| it.key.clone()).collect()
}

fn permitted(action: &str, id: &str, instance: &Instance) -> Result<(), Refusal> {
    let protected = |verb: &str, attribute: &str| {
        Err(refuse(
            "OperationNotPermitted",
            format!(
                "The instance '{id}' may not be {verb}. Modify its '{attribute}' instance attribute and try again."
            ),
        ))
    };
    let state = instance.state.as_str();
    match action {
        "TerminateInstances" if instance.termination_protection => {
            protected("terminated", "disableApiTermination")
        }
        "StopInstances" if instance.stop_protection => protected("stopped", "disableApiStop"),
        "StopInstances" if instance.devices.is_empty() => Err(refuse(
            "UnsupportedOperation",
            format!(
                "The instance '{id}' does not have an 'ebs' root device type and cannot be stopped."
            ),
        )),
        "StopInstances" if !matches!(state, "running" | "stopping" | "stopped") => {
            Err(refuse("IncorrectInstanceState", format!("The instance '{id}' is {state}")))
        }
        "StartInstances" if !matches!(state, "stopped" | "pending" | "running") => {
            Err(refuse("IncorrectInstanceState", format!("The instance '{id}' is {state}")))
        }
        _ => Ok(()),
    }
}

/// A public address that is no Elastic IP address goes with stopping, and
/// another one comes with starting (EC2 user guide, "Stop and start").
fn stop(ec2: &mut Ec2, id: &str) {
    ec2.instance_ended(id);
    if let Some(instance) = ec2.instances.get_mut(id) {
        "stopped".clone_into(&mut instance.state);
    }
    let elastic: Vec<String> =
        ec2.addresses.values().filter_map(|it| it.on.as_ref()).map(|(id, _)| id.clone()).collect();
    for (interface, it) in &mut ec2.interfaces {
        if it.instance.as_deref() == Some(id) && !elastic.contains(interface) {
            it.public_ip = None;
        }
    }
}

/// Where EBS cannot use the key of a volume, the call succeeds and the instance stops again
/// ("Why does my EC2 instance stop again right after it started", AWS Knowledge Center).
fn start(ec2: &mut Ec2, id: &str) {
    let unusable = keys_of(ec2, id).iter().any(|key| ec2.unusable_keys.contains(key));
    let Some(instance) = ec2.instances.get_mut(id) else { return };
    if instance.state == "running" {
        return;
    }
    instance.state_reason = unusable.then(|| "Client.InternalError".to_owned());
    if unusable {
        return;
    }
    "running".clone_into(&mut instance.state);
    ec2.next += 1;
    let address = format!("203.0.113.{}", ec2.next % 250);
    let first = ec2
        .interfaces
        .values_mut()
        .find(|interface| interface.instance.as_deref() == Some(id) && interface.device_index == 0);
    if let Some(first) = first {
        first.public_ip.get_or_insert(address);
    }
}

fn instance<'a>(ec2: &'a mut Ec2, form: &Form) -> Result<(String, &'a mut Instance), Refusal> {
    let id = required(form, "InstanceId")?.to_owned();
    match ec2.instances.get_mut(&id) {
        Some(instance) if instance.state == "terminated" => {
            Err(refuse("IncorrectInstanceState", format!("The instance '{id}' is terminated")))
        }
        Some(instance) => Ok((id, instance)),
        None => Err(refuse(NOT_FOUND, format!("The instance ID '{id}' does not exist"))),
    }
}

/// One attribute.
pub(super) fn describe_attribute(ec2: &mut Ec2, form: &Form) -> Answer {
    let (id, instance) = instance(ec2, form)?;
    let attribute = required(form, "Attribute")?;
    let value = match attribute {
        "disableApiTermination" => flag(instance.termination_protection),
        "disableApiStop" => flag(instance.stop_protection),
        "instanceInitiatedShutdownBehavior" => instance.shutdown_behavior.as_str(),
        other => {
            let message = format!("Value ({other}) for parameter attribute is not modelled");
            return Err(refuse("InvalidParameterValue", message));
        }
    };
    let mut out = String::new();
    xml::text(&mut out, "instanceId", &id);
    xml::element(&mut out, attribute, |out| xml::text(out, "value", value));
    Ok(out)
}

/// "You can specify only one attribute at a time" (EC2 API reference,
/// ModifyInstanceAttribute); several devices count as one.
pub(super) fn modify_attribute(ec2: &mut Ec2, form: &Form) -> Answer {
    let (id, instance) = instance(ec2, form)?;
    let termination = form.get("DisableApiTermination.Value");
    let stop = form.get("DisableApiStop.Value");
    let shutdown = form.get("InstanceInitiatedShutdownBehavior.Value");
    let devices = form.structures("BlockDeviceMapping");
    let given = [termination.is_some(), stop.is_some(), shutdown.is_some(), !devices.is_empty()];
    if given.iter().filter(|given| **given).count() != 1 {
        return Err(refuse(
            "InvalidParameterCombination",
            "Fields for multiple attribute types specified, or none".to_owned(),
        ));
    }
    if instance.spot && (termination.is_some() || stop.is_some()) {
        return Err(refuse(
            "UnsupportedOperation",
            format!("The attribute cannot be modified for the Spot Instance '{id}'"),
        ));
    }
    if let Some(value) = termination {
        instance.termination_protection = value == "true";
    }
    if let Some(value) = stop {
        instance.stop_protection = value == "true";
    }
    if let Some(value) = shutdown {
        value.clone_into(&mut instance.shutdown_behavior);
    }
    for device in devices {
        let name = required(&device, "DeviceName")?;
        let found = instance.devices.get_mut(name).ok_or_else(|| {
            refuse(
                "InvalidInstanceAttributeValue",
                format!("No device is currently mapped at {name}"),
            )
        })?;
        found.delete_on_termination = device.flag("Ebs.DeleteOnTermination");
    }
    Ok(returned_true())
}
