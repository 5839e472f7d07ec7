-- Gives wholeNumber(): the digits of a whole number. Redis writes a number of a script with all digits of a fraction, which takes five
-- times as long, so a script that writes many makes its own.

local function wholeNumber(number)
  return string.format('%d', number)
end
