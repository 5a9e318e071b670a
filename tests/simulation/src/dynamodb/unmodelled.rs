//! What is refused because the simulation does not model it: operations, and
//! what some operations can be asked besides. Nothing is answered halfway.

use serde_json::Value;

use crate::wire::ServiceError;

/// The operations that are modelled.
const MODELLED: [&str; 12] = [
    "BatchGetItem",
    "CreateTable",
    "DeleteItem",
    "DeleteTable",
    "DescribeTable",
    "GetItem",
    "ListTables",
    "PutItem",
    "Query",
    "Scan",
    "TransactWriteItems",
    "UpdateItem",
];

/// Why a request is refused, if it is.
pub(super) fn refusal(operation: &str, body: &Value, text: &[u8]) -> Option<ServiceError> {
    let not_modelled = |what: &str| {
        let message = format!("the simulation does not model {what}");
        Some(ServiceError::new(501, "NotModelled", message))
    };
    if !MODELLED.contains(&operation) {
        return not_modelled(&format!("dynamodb:{operation}"));
    }
    // It stands in a part of a transaction as well.
    let asked = b"ReturnValuesOnConditionCheckFailure";
    if operation != "UpdateItem" && text.windows(asked.len()).any(|some| some == asked) {
        return not_modelled("ReturnValuesOnConditionCheckFailure");
    }
    let scanned = ["IndexName", "Segment"].iter().any(|name| body.get(*name).is_some());
    if operation == "Scan" && scanned {
        return not_modelled("IndexName and Segment of dynamodb:Scan");
    }
    let tables = body.get("RequestItems").and_then(Value::as_object);
    let mut wanted = tables.into_iter().flat_map(|tables| tables.values());
    if wanted.any(|it| it.get("ProjectionExpression").is_some()) {
        return not_modelled("ProjectionExpression of dynamodb:BatchGetItem");
    }
    None
}

/// The methods of a storage that no modelled operation calls: one line for each,
/// with what it takes besides account and Region.
macro_rules! unmodelled {
    () => {
        unmodelled! {
            batch_write_item(String, Vec<Item>, Vec<Item>) -> ();
            create_backup(String, String) -> types::Backup;
            create_global_table(String, Vec<String>) -> types::GlobalTableInfo;
            delete_backup(String) -> types::Backup;
            delete_resource_policy(String) -> String;
            describe_backup(String) -> types::Backup;
            describe_continuous_backups(String) -> Option<types::ContinuousBackupsConfig>;
            describe_contributor_insights(String, Option<String>) -> Option<types::ContributorInsightsConfig>;
            describe_export(String) -> types::ExportInfo;
            describe_global_table(String) -> types::GlobalTableInfo;
            describe_import(String) -> types::ImportInfo;
            describe_kinesis_streaming_destinations(String) -> Vec<types::KinesisStreamingDestination>;
            describe_stream_by_arn(String) -> types::StreamSummary;
            describe_time_to_live(String) -> Option<types::TtlConfig>;
            disable_kinesis_streaming_destination(String, String) -> types::KinesisStreamingDestination;
            enable_kinesis_streaming_destination(String, String, Option<String>) -> types::KinesisStreamingDestination;
            export_table_to_point_in_time(String, Option<String>, Option<String>, Option<String>) -> types::ExportInfo;
            get_resource_policy(String) -> Option<types::ResourcePolicy>;
            get_stream_records(String, u64, Option<usize>) -> (Vec<types::StreamChangeRecord>, u64);
            list_backups(Option<String>) -> Vec<types::Backup>;
            list_contributor_insights(Option<String>) -> Vec<types::ContributorInsightsConfig>;
            list_global_tables() -> Vec<types::GlobalTableInfo>;
            list_streams(Option<String>) -> Vec<types::StreamSummary>;
            list_tags_of_resource(String) -> Vec<types::DynamoDbTag>;
            put_resource_policy(String, String) -> String;
            restore_table_from_backup(String, String) -> types::Table;
            restore_table_to_point_in_time(String, String) -> types::Table;
            tag_resource(String, Vec<types::DynamoDbTag>) -> ();
            transact_get_items(Vec<(String, Item)>) -> Vec<Option<Item>>;
            untag_resource(String, Vec<String>) -> ();
            update_continuous_backups(String, bool) -> types::ContinuousBackupsConfig;
            update_contributor_insights(String, Option<String>, String) -> types::ContributorInsightsConfig;
            update_global_table(String, Vec<String>, Vec<String>) -> types::GlobalTableInfo;
            update_kinesis_streaming_destination(String, String, Option<String>) -> types::KinesisStreamingDestination;
            update_stream_specification(String, bool, Option<String>) -> types::Table;
            update_table(String, Option<String>, Option<types::ProvisionedThroughput>) -> types::Table;
            update_time_to_live(String, String, bool) -> types::TtlConfig;
        }

        // These have no way to say that something is wrong.

        fn list_exports(
            &self,
            _: String,
            _: String,
        ) -> Pin<Box<dyn Future<Output = Vec<types::ExportInfo>> + Send>> {
            Box::pin(std::future::ready(Vec::new()))
        }

        fn list_imports(
            &self,
            _: String,
            _: String,
        ) -> Pin<Box<dyn Future<Output = Vec<types::ImportInfo>> + Send>> {
            Box::pin(std::future::ready(Vec::new()))
        }

        fn import_table(
            &self,
            _: String,
            _: String,
            _: String,
            _: Option<String>,
            _: Option<String>,
        ) -> Pin<Box<dyn Future<Output = types::ImportInfo> + Send>> {
            Box::pin(std::future::ready(types::ImportInfo {
                import_arn: String::new(),
                table_arn: None,
                import_status: "FAILED".to_owned(),
                start_time: std::time::SystemTime::UNIX_EPOCH.into(),
                end_time: None,
                s3_bucket_source: None,
                input_format: None,
            }))
        }

        // What the library tells its listeners after each call: there are none.

        fn scopes_with_state(&self) -> Vec<(String, String)> {
            Vec::new()
        }

        fn snapshot(
            &self,
            _: String,
            _: String,
        ) -> Pin<Box<dyn Future<Output = DynamodbStateView> + Send>> {
            Box::pin(std::future::ready(DynamodbStateView::default()))
        }

        fn restore(
            &self,
            _: String,
            _: String,
            _: DynamodbStateView,
        ) -> Pin<Box<dyn Future<Output = Result<(), StateViewError>> + Send>> {
            let why = "the simulation does not model a restored state".to_owned();
            Box::pin(std::future::ready(Err(StateViewError::Invalid(why))))
        }

        fn merge(
            &self,
            _: String,
            _: String,
            _: DynamodbStateView,
        ) -> Pin<Box<dyn Future<Output = Result<(), StateViewError>> + Send>> {
            let why = "the simulation does not model a merged state".to_owned();
            Box::pin(std::future::ready(Err(StateViewError::Invalid(why))))
        }
    };
    ($($method:ident($($argument:ty),*) -> $answer:ty;)*) => {
        $(
            fn $method(&self, _: String, _: String, $(_: $argument),*) -> Answer<$answer> {
                let method = stringify!($method);
                now(Err(DynamoDbError::InternalError(format!(
                    "the simulation does not model dynamodb:{method}"
                ))))
            }
        )*
    };
}
pub(super) use unmodelled;
