//! `$(( ))`: whole numbers of 64 bits.

use brush_parser::arithmetic;
use brush_parser::ast::{
    ArithmeticExpr as Expr, ArithmeticTarget as Target, BinaryOperator as Binary, UnaryAssignmentOperator as Step,
    UnaryOperator as Unary,
};

use crate::shell::{Shell, Stop};

impl Shell {
    pub fn arithmetic(&mut self, text: &str) -> Result<i64, Stop> {
        let expression = arithmetic::parse(text.trim());
        self.evaluate(&expression.map_err(|_| Stop::Refused(format!("arithmetic syntax error: {}", text.trim())))?)
    }

    fn evaluate(&mut self, expression: &Expr) -> Result<i64, Stop> {
        match expression {
            Expr::Literal(value) => Ok(*value),
            Expr::Reference(target) => self.number(name(target)?),
            Expr::UnaryOp(operator, of) => {
                let value = self.evaluate(of)?;
                Ok(match operator {
                    Unary::UnaryPlus => value,
                    Unary::UnaryMinus => value.wrapping_neg(),
                    Unary::BitwiseNot => !value,
                    Unary::LogicalNot => i64::from(value == 0),
                })
            }
            Expr::BinaryOp(Binary::LogicalAnd, left, right) => {
                Ok(i64::from(self.evaluate(left)? != 0 && self.evaluate(right)? != 0))
            }
            Expr::BinaryOp(Binary::LogicalOr, left, right) => {
                Ok(i64::from(self.evaluate(left)? != 0 || self.evaluate(right)? != 0))
            }
            Expr::BinaryOp(operator, left, right) => {
                let (left, right) = (self.evaluate(left)?, self.evaluate(right)?);
                computed(operator, left, right)
            }
            Expr::Conditional(condition, yes, no) => {
                let holds = self.evaluate(condition)? != 0;
                self.evaluate(if holds { yes } else { no })
            }
            Expr::Assignment(target, value) => {
                let value = self.evaluate(value)?;
                self.set_number(name(target)?, value)
            }
            Expr::BinaryAssignment(operator, target, value) => {
                let value = self.evaluate(value)?;
                let value = computed(operator, self.number(name(target)?)?, value)?;
                self.set_number(name(target)?, value)
            }
            Expr::UnaryAssignment(step, target) => {
                let before = self.number(name(target)?)?;
                let after = match step {
                    Step::PrefixIncrement | Step::PostfixIncrement => before.wrapping_add(1),
                    Step::PrefixDecrement | Step::PostfixDecrement => before.wrapping_sub(1),
                };
                self.set_number(name(target)?, after)?;
                let is_prefix = matches!(step, Step::PrefixIncrement | Step::PrefixDecrement);
                Ok(if is_prefix { after } else { before })
            }
        }
    }

    fn number(&self, name: &str) -> Result<i64, Stop> {
        match self.variable(name).map(str::trim).unwrap_or_default() {
            "" => Ok(0),
            text => text.parse().map_err(|_| Stop::Refused(format!("{name}: not a number: {text}"))),
        }
    }

    fn set_number(&mut self, name: &str, value: i64) -> Result<i64, Stop> {
        self.assign(name, value.to_string());
        Ok(value)
    }
}

fn name(target: &Target) -> Result<&str, Stop> {
    match target {
        Target::Variable(name) => Ok(name),
        Target::ArrayElement(..) => Err(Stop::Refused("there are no arrays in this shell".to_owned())),
    }
}

fn computed(operator: &Binary, left: i64, right: i64) -> Result<i64, Stop> {
    if right == 0 && matches!(operator, Binary::Divide | Binary::Modulo) {
        return Err(Stop::Refused("divide by zero".to_owned()));
    }
    // As the machine's own shifts and powers go; no script needs more.
    let bits = u32::try_from(right.rem_euclid(64)).unwrap_or_default();
    Ok(match operator {
        Binary::Power => left.wrapping_pow(u32::try_from(right).unwrap_or_default()),
        Binary::Multiply => left.wrapping_mul(right),
        Binary::Divide => left.wrapping_div(right),
        Binary::Modulo => left.wrapping_rem(right),
        Binary::Comma => right,
        Binary::Add => left.wrapping_add(right),
        Binary::Subtract => left.wrapping_sub(right),
        Binary::ShiftLeft => left.wrapping_shl(bits),
        Binary::ShiftRight => left.wrapping_shr(bits),
        Binary::LessThan => i64::from(left < right),
        Binary::LessThanOrEqualTo => i64::from(left <= right),
        Binary::GreaterThan => i64::from(left > right),
        Binary::GreaterThanOrEqualTo => i64::from(left >= right),
        Binary::Equals => i64::from(left == right),
        Binary::NotEquals => i64::from(left != right),
        Binary::BitwiseAnd => left & right,
        Binary::BitwiseXor => left ^ right,
        Binary::BitwiseOr => left | right,
        Binary::LogicalAnd => i64::from(left != 0 && right != 0),
        Binary::LogicalOr => i64::from(left != 0 || right != 0),
    })
}
