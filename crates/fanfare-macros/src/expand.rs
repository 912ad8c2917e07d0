//! The implementations that the derives write.

use proc_macro2::{Span, TokenStream};
use quote::quote;
use syn::{DeriveInput, Error, Ident, Result, ext::IdentExt};

use crate::attributes::{EventAttributes, named_fields};

pub(crate) fn event_type(input: &DeriveInput) -> Result<TokenStream> {
    let attributes = EventAttributes::of(input)?;
    named_fields(input)?;
    if let Some(key) = &attributes.key {
        return Err(Error::new(
            key.span(),
            "a key is for publishing: derive Event (and Serialize) instead",
        ));
    }
    if let Some(filter) = attributes.filters.first() {
        return Err(Error::new(
            filter.span(),
            "filter fields are for publishing: derive Event (and Serialize) instead",
        ));
    }
    Ok(implement_event_type(input, &attributes))
}

pub(crate) fn event(input: &DeriveInput) -> Result<TokenStream> {
    let attributes = EventAttributes::of(input)?;
    let fields = named_fields(input)?;
    let key = attributes.key.as_ref().ok_or_else(|| {
        Error::new(
            Span::call_site(),
            "missing key: add #[event(key = order_id, …)], the field that order is kept by; a service that only consumes this event derives EventType",
        )
    })?;
    exists(key, &fields, "key")?;
    for filter in &attributes.filters {
        exists(filter, &fields, "filter")?;
        if filter.unraw() == "type" {
            return Err(Error::new(
                filter.span(),
                "`type` is the attribute of the type tag: rename this field",
            ));
        }
    }
    let event_type = implement_event_type(input, &attributes);
    let krate = krate();
    let ident = &input.ident;
    let (impl_generics, type_generics, where_clause) = input.generics.split_for_impl();
    let filters = &attributes.filters;
    let names = filters.iter().map(|filter| filter.unraw().to_string());
    Ok(quote! {
        #event_type

        #[automatically_derived]
        impl #impl_generics #krate::Event for #ident #type_generics #where_clause {
            fn key(&self) -> ::std::string::String {
                ::std::string::ToString::to_string(&self.#key)
            }

            fn filters(&self) -> ::std::vec::Vec<(&'static str, ::std::string::String)> {
                ::std::vec![#((#names, ::std::string::ToString::to_string(&self.#filters))),*]
            }
        }
    })
}

fn implement_event_type(input: &DeriveInput, attributes: &EventAttributes) -> TokenStream {
    let krate = krate();
    let ident = &input.ident;
    let (impl_generics, type_generics, where_clause) = input.generics.split_for_impl();
    let EventAttributes { tag, topic, .. } = attributes;
    quote! {
        #[automatically_derived]
        impl #impl_generics #krate::EventType for #ident #type_generics #where_clause {
            const TAG: &'static str = #tag;
            const TOPIC: &'static str = #topic;
        }
    }
}

fn exists(field: &Ident, fields: &[&Ident], role: &str) -> Result<()> {
    if fields.contains(&field) {
        return Ok(());
    }
    let known: Vec<String> = fields.iter().map(|field| format!("`{field}`")).collect();
    let text = format!(
        "{role} names no field of this struct: there is no `{field}`, only {}",
        known.join(", ")
    );
    Err(Error::new(field.span(), text))
}

/// The packages that see the traits in `fanfare_core`, because the facade is above them; the
/// second is how trybuild names the package of core's compile tests.
const BELOW_THE_FACADE: [&str; 7] = [
    "fanfare-core",
    "fanfare-core-tests",
    "fanfare-aws",
    "fanfare-lambda",
    "fanfare-sql",
    "fanfare-testkit",
    "fanfare-topology",
];

/// The crate that the traits are named by.
fn krate() -> TokenStream {
    let package = std::env::var("CARGO_PKG_NAME").unwrap_or_default();
    if BELOW_THE_FACADE.contains(&package.as_str()) {
        quote!(::fanfare_core)
    } else {
        quote!(::fanfare)
    }
}
