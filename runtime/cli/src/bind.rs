//! What a kernel or pipeline is specialised with when there are no arguments: constants, dtypes and extents from the command
//! line, and stand-ins for the rest.

use std::collections::BTreeSet;

use pantile::{DType, Module, Scalar};
use pantile_compiler::{
    ArgShape, AxisInfo, Bindings, ElementType, ExtentInfo, GenericKind, ParamInfo, ParamType, PlanBindings, Signature,
};
use pantile_ir::Class;

use crate::failure::{Failure, input};
use crate::options::{Extents, Named};
use crate::orders;
use crate::values::scalar;

/// What an extent is taken to be that the command line does not say.
const STAND_IN: i64 = 128;

/// Numbers and dtypes for names.
#[derive(clap::Args)]
pub(crate) struct Bind {
    /// A constant or a pipeline's scalar: a number, a bool or a dtype.
    #[arg(long = "const", value_name = "NAME=VALUE")]
    constants: Vec<Named>,
    /// A dtype generic.
    #[arg(long = "dtype", value_name = "NAME=DTYPE")]
    dtypes: Vec<Named>,
    /// Extents; what the code needs as a number and is not given counts as 128.
    #[arg(long = "shape", value_name = "NAME=N,NAME=N…")]
    shapes: Vec<Extents>,
    /// A pipeline's order: one of the file's with its arguments, or a table in a file.
    #[arg(long = "arg", value_name = "NAME=ORDER(…)|NAME=FILE:TENSOR")]
    orders: Vec<Named>,
}

/// Bindings, and what was assumed to complete them: `D = 128`.
pub(crate) struct Bound {
    pub(crate) bindings: Bindings,
    pub(crate) assumed: Vec<String>,
}

impl Bind {
    /// For a kernel.
    pub(crate) fn kernel(&self, signature: &Signature) -> Result<Bound, Failure> {
        let mut bound = self.generics(signature)?;
        for param in signature.params.iter().filter(|p| p.ty == ParamType::Int) {
            match self.constant(&param.name) {
                Some(text) => drop(bound.bindings.ints.insert(param.name.clone(), int(&param.name, text)?)),
                None => bound.assume(param.name.clone(), STAND_IN),
            }
        }
        self.extents(signature, &signature.constants, &mut bound)?;
        self.check_names(signature)?;
        Ok(bound)
    }

    /// For a pipeline: the shapes of its arguments and the values of its scalars.
    pub(crate) fn pipeline(
        &self,
        module: &Module,
        signature: &Signature,
    ) -> Result<(PlanBindings, Vec<String>), Failure> {
        let mut bound = self.generics(signature)?;
        let extents: Vec<String> = signature.params.iter().flat_map(|p| p.ty.axes()).filter_map(named).collect();
        self.extents(signature, &extents, &mut bound)?;
        self.check_names(signature)?;
        let args =
            signature.params.iter().map(|p| self.argument(p, module, &mut bound)).collect::<Result<Vec<_>, _>>()?;
        let fixed = Bindings { ints: bound.bindings.ints, ..Bindings::default() };
        Ok((PlanBindings { args, fixed }, bound.assumed))
    }

    fn argument(&self, param: &ParamInfo, module: &Module, bound: &mut Bound) -> Result<ArgShape, Failure> {
        let shape = |axes: &[AxisInfo], bindings: &Bindings| {
            axes.iter().map(|a| a.size(bindings).unwrap_or(STAND_IN)).collect::<Vec<_>>()
        };
        let dtype = |element: &ElementType, bindings: &Bindings| element.resolve(bindings).unwrap_or(DType::F32);
        match &param.ty {
            ParamType::Tensor(element, axes) => {
                Ok(ArgShape::Tensor { dtype: dtype(element, &bound.bindings), shape: shape(axes, &bound.bindings) })
            }
            ParamType::Mask(axes) => Ok(ArgShape::Mask { shape: shape(axes, &bound.bindings) }),
            ParamType::Scalar(element) => {
                let dtype = dtype(element, &bound.bindings);
                let value = self.scalar(param, dtype, bound)?;
                Ok(ArgShape::Scalar { dtype, value })
            }
            ParamType::Order => match self.orders.iter().find(|o| o.name == param.name) {
                Some(order) => orders::parse(order, module).map(ArgShape::Order),
                None => input(format!("order `{0}` is missing; give `--arg {0}=ORDER(…)`", param.name)),
            },
            ParamType::Int => Ok(ArgShape::Scalar { dtype: DType::I64, value: self.scalar(param, DType::I64, bound)? }),
        }
    }

    fn scalar(&self, param: &ParamInfo, dtype: DType, bound: &mut Bound) -> Result<Scalar, Failure> {
        let value = match (self.constant(&param.name).map(scalar), param.default) {
            (Some(Some(Scalar::Int(n))), _) if dtype.is_float() => Scalar::Float(n as f64),
            (Some(Some(value)), _) => value,
            (Some(None), _) => return input(format!("constant `{}` must be a number or a bool", param.name)),
            (None, Some((_, default))) => default,
            (None, None) => return input(format!("`{0}` has no value; give `--const {0}=VALUE`", param.name)),
        };
        let fits = match value {
            Scalar::Bool(_) => dtype == DType::Bool,
            Scalar::Int(_) => dtype.is_int(),
            Scalar::Float(_) => dtype.is_float(),
        };
        if !fits {
            return input(format!("constant `{}` must be {dtype}", param.name));
        }
        if self.constant(&param.name).is_none() {
            bound.assumed.push(format!("{} = {}", param.name, text_of(value)));
        }
        Ok(value)
    }

    fn generics(&self, signature: &Signature) -> Result<Bound, Failure> {
        let mut bound = Bound { bindings: Bindings::default(), assumed: Vec::new() };
        for generic in &signature.generics {
            let name = &generic.name;
            match (generic.kind, self.constant(name)) {
                (GenericKind::DType(_), Some(text)) => {
                    let dtype = crate::options::dtype(text).map_err(Failure::Input)?;
                    bound.bindings.dtypes.insert(name.clone(), dtype);
                }
                (GenericKind::DType(class), None) => {
                    let dtype = stand_in(class);
                    bound.bindings.dtypes.insert(name.clone(), dtype);
                    bound.assumed.push(format!("{name} = {dtype}"));
                }
                (GenericKind::Int(_), Some(text)) => {
                    bound.bindings.ints.insert(name.clone(), int(name, text)?);
                }
                (GenericKind::Int(Some(default)), None) => drop(bound.bindings.ints.insert(name.clone(), default)),
                (GenericKind::Int(None), None) => bound.assume(name.clone(), STAND_IN),
            }
        }
        Ok(bound)
    }

    fn extents(&self, signature: &Signature, needed: &[String], bound: &mut Bound) -> Result<(), Failure> {
        let known = signature.extents();
        for (name, size) in self.shapes.iter().flat_map(|s| &s.0) {
            if !known.contains(&name.as_str()) {
                return input(format!("`{}` has no extent `{name}`; it has {}", signature.name, known.join(", ")));
            }
            bound.bindings.extents.insert(name.clone(), *size);
        }
        for name in needed {
            if !bound.bindings.extents.contains_key(name)
                && !bound.assumed.iter().any(|a| a.starts_with(&format!("{name} =")))
            {
                bound.bindings.extents.insert(name.clone(), STAND_IN);
                bound.assumed.push(format!("{name} = {STAND_IN}"));
            }
        }
        Ok(())
    }

    fn check_repeated(&self) -> Result<(), Failure> {
        let constants = self.constants.iter().chain(&self.dtypes).map(|c| ("constant", &c.name));
        let extents = self.shapes.iter().flat_map(|s| &s.0).map(|(name, _)| ("extent", name));
        let orders = self.orders.iter().map(|o| ("order", &o.name));
        let mut seen = BTreeSet::new();
        match constants.chain(extents).chain(orders).find(|given| !seen.insert(*given)) {
            Some((what, name)) => input(format!("{what} `{name}` is given twice")),
            None => Ok(()),
        }
    }

    fn constant(&self, name: &str) -> Option<&str> {
        let mut given = self.constants.iter().chain(&self.dtypes);
        given.find(|c| c.name == name).map(|c| c.value.as_str())
    }

    /// Each name is one that the signature has, and stands once.
    fn check_names(&self, signature: &Signature) -> Result<(), Failure> {
        self.check_repeated()?;
        let scalar = |p: &&ParamInfo| matches!(p.ty, ParamType::Scalar(_) | ParamType::Int);
        let scalars = || signature.params.iter().filter(scalar).map(|p| p.name.as_str());
        for given in self.constants.iter().chain(&self.dtypes) {
            if signature.generic(&given.name).is_none() && !scalars().any(|name| name == given.name) {
                let generics = signature.generics.iter().map(|g| g.name.as_str());
                let known: Vec<&str> = generics.chain(scalars()).collect();
                return input(format!(
                    "`{}` has no constant `{}`; it has {}",
                    signature.name,
                    given.name,
                    known.join(", ")
                ));
            }
        }
        for given in &self.orders {
            let mut orders = signature.params.iter().filter(|p| p.ty == ParamType::Order);
            if !orders.clone().any(|p| p.name == given.name) {
                let known: Vec<&str> = orders.by_ref().map(|p| p.name.as_str()).collect();
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                return input(format!("`{}` takes no order `{}`; it takes {known}", signature.name, given.name));
            }
        }
        Ok(())
    }
}

impl Bound {
    fn assume(&mut self, name: String, value: i64) {
        self.assumed.push(format!("{name} = {value}"));
        self.bindings.ints.insert(name, value);
    }
}

fn named(axis: &AxisInfo) -> Option<String> {
    match &axis.extent {
        ExtentInfo::Named(name) => Some(name.clone()),
        ExtentInfo::Generic(_) | ExtentInfo::Literal(_) => None,
    }
}

/// As written on the command line.
pub(crate) fn text_of(value: Scalar) -> String {
    match value {
        Scalar::Bool(b) => b.to_string(),
        Scalar::Int(i) => i.to_string(),
        Scalar::Float(x) => x.to_string(),
    }
}

fn int(name: &str, text: &str) -> Result<i64, Failure> {
    text.parse().map_err(|_| Failure::Input(format!("constant `{name}`: `{text}` is not a whole number")))
}

fn stand_in(class: Class) -> DType {
    match class {
        Class::Float | Class::Number | Class::Any => DType::F32,
        Class::Int | Class::Bits => DType::I32,
        Class::Bool => DType::Bool,
    }
}
