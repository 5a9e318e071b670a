//! The parameters of an EC2 Query request: `Name.1.Part=value`.

/// The form of one request, in its order.
#[derive(Clone, Debug, Default)]
pub struct Form {
    pairs: Vec<(String, String)>,
}

impl Form {
    /// Takes decoded pairs.
    pub fn new(pairs: Vec<(String, String)>) -> Self {
        Self { pairs }
    }

    /// One parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// One flag.
    pub fn flag(&self, name: &str) -> bool {
        self.get(name) == Some("true")
    }

    /// The values of `Name.1`, `Name.2`, …
    pub fn list(&self, name: &str) -> Vec<&str> {
        (1..).map_while(|index| self.get(&format!("{name}.{index}"))).collect()
    }

    /// The structures `Name.1.*`, `Name.2.*`, … each as a form of its own.
    pub fn structures(&self, name: &str) -> Vec<Form> {
        let mut structures = Vec::new();
        for index in 1.. {
            let prefix = format!("{name}.{index}.");
            let pairs: Vec<(String, String)> = self
                .pairs
                .iter()
                .filter_map(|(key, value)| {
                    Some((key.strip_prefix(&prefix)?.to_owned(), value.clone()))
                })
                .collect();
            if pairs.is_empty() {
                return structures;
            }
            structures.push(Self { pairs });
        }
        structures
    }

    /// `Filter.N.Name` with `Filter.N.Value.M`.
    pub fn filters(&self) -> Vec<(String, Vec<String>)> {
        self.structures("Filter")
            .iter()
            .map(|filter| {
                let values = filter.list("Value").into_iter().map(str::to_owned).collect();
                (filter.get("Name").unwrap_or_default().to_owned(), values)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_structures_are_read_by_their_numbers() {
        let pairs = [
            ("GroupId.1", "sg-1"),
            ("GroupId.2", "sg-2"),
            ("Filter.1.Name", "vpc-id"),
            ("Filter.1.Value.1", "vpc-1"),
            ("Filter.1.Value.2", "vpc-2"),
        ];
        let form = Form::new(pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec());
        assert_eq!(form.list("GroupId"), ["sg-1", "sg-2"]);
        let values = vec!["vpc-1".to_owned(), "vpc-2".to_owned()];
        assert_eq!(form.filters(), [("vpc-id".to_owned(), values)]);
    }
}
