//! The table and its indexes, as in the CloudFormation template.

use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection,
    ProjectionType, ScalarAttributeType,
};

use super::{BY_DAY, BY_DUE, Store, unbuilt};
use crate::error::{HubError, failed};

impl Store {
    /// Creates the table, for the demo, tests and emulators; an organization deploys it
    /// with CloudFormation.
    pub async fn create_table(&self) -> Result<(), HubError> {
        let attribute = |name: &str| {
            AttributeDefinition::builder()
                .attribute_name(name)
                .attribute_type(ScalarAttributeType::S)
                .build()
                .map_err(unbuilt)
        };
        let key = |name: &str, kind: KeyType| {
            KeySchemaElement::builder().attribute_name(name).key_type(kind).build().map_err(unbuilt)
        };
        self.client
            .create_table()
            .table_name(&self.table)
            .billing_mode(BillingMode::PayPerRequest)
            .attribute_definitions(attribute("pk")?)
            .attribute_definitions(attribute("sk")?)
            .attribute_definitions(attribute("day")?)
            .attribute_definitions(attribute("created")?)
            .attribute_definitions(attribute("due_shard")?)
            .attribute_definitions(attribute("due")?)
            .key_schema(key("pk", KeyType::Hash)?)
            .key_schema(key("sk", KeyType::Range)?)
            .global_secondary_indexes(
                GlobalSecondaryIndex::builder()
                    .index_name(BY_DAY)
                    .key_schema(key("day", KeyType::Hash)?)
                    .key_schema(key("created", KeyType::Range)?)
                    .projection(Projection::builder().projection_type(ProjectionType::All).build())
                    .build()
                    .map_err(unbuilt)?,
            )
            .global_secondary_indexes(
                GlobalSecondaryIndex::builder()
                    .index_name(BY_DUE)
                    .key_schema(key("due_shard", KeyType::Hash)?)
                    .key_schema(key("due", KeyType::Range)?)
                    .projection(
                        Projection::builder().projection_type(ProjectionType::KeysOnly).build(),
                    )
                    .build()
                    .map_err(unbuilt)?,
            )
            .send()
            .await
            .map_err(|error| failed("dynamodb:CreateTable", &error))?;
        Ok(())
    }
}
