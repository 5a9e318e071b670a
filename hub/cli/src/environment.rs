//! The engine, settings and AWS configuration of this environment.

use aws_config::SdkConfig;
use firebreak_aws::config;
use firebreak_aws::settings::Settings;
use firebreak_engine::Engine;
use firebreak_model::resource::Region;

use super::Failure;

/// The settings in the `FIREBREAK_` environment variables.
pub(crate) fn settings() -> Result<Settings, Failure> {
    Settings::read(variable).map_err(|error| Failure::Usage(error.to_string()))
}

/// The same for a short-lived process, which neither lists accounts' places nor takes part
/// in the rate limits of the table: it may only be able to read.
pub(crate) fn own_settings() -> Result<Settings, Failure> {
    Ok(Settings { share_places: false, share_rates: false, ..settings()? })
}

/// An engine with the AWS credentials and settings of this environment, for a command that
/// changes nothing in member accounts.
pub(crate) async fn engine() -> Result<Engine, Failure> {
    let settings = own_settings()?;
    Ok(Engine::new(&aws_config(None).await?, settings))
}

/// The same for a command that does: it shares the rate limits with the function.
pub(crate) async fn acting_engine() -> Result<Engine, Failure> {
    let settings = Settings { share_rates: true, ..own_settings()? };
    Ok(Engine::new(&aws_config(None).await?, settings))
}

/// The same, for a command that can run without AWS: `offline` says how.
pub(crate) async fn engine_or(offline: &str) -> Result<Engine, Failure> {
    engine().await.map_err(|failure| match failure {
        Failure::Usage(why) => Failure::Usage(format!("{why}\nhelp: or without AWS: {offline}")),
        other => other,
    })
}

/// The AWS configuration of this environment. `region` is used only where the
/// environment has none.
pub(crate) async fn aws_config(region: Option<&Region>) -> Result<SdkConfig, Failure> {
    let config = config::from_environment().await;
    let is_region = |it: &aws_config::Region| it.as_ref().parse::<Region>().is_ok();
    if config.region().is_some_and(is_region) {
        return Ok(config);
    }
    let Some(region) = region else {
        return Err(Failure::Usage(
            "no valid AWS Region configured\nhelp: set AWS_REGION to the hub's Region".to_owned(),
        ));
    };
    let region = aws_config::Region::new(region.to_string());
    Ok(config.into_builder().region(region).build())
}

/// The one place where the command line reads the environment.
#[expect(clippy::disallowed_methods, reason = "settings are read once, at a command's start")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
