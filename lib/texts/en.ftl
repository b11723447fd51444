# What the bot says. Each file has the same ids; values that come from people are escaped by the code.

## Names
tariff-basic = Basic
tariff-plus = Plus
platform-ios = iPhone and iPad
platform-android = Android
platform-windows = Windows
platform-macos = macOS
platform-linux = Linux
period = { $days ->
    [one] { $days } day
   *[other] { $days } days
}
left-hours = { $hours ->
    [one] { $hours } hour
   *[other] { $hours } hours
}
left-minutes = { $minutes ->
    [one] { $minutes } minute
   *[other] { $minutes } minutes
}
devices = { $count ->
    [one] { $count } device
   *[other] { $count } devices
}
hours = { $count ->
    [one] { $count } hour
   *[other] { $count } hours
}
traffic = { $gb } GB
traffic-unlimited = unlimited traffic

## Buttons
button-trial = 🎁 Try it free
button-profile = 👤 Profile
button-buy = 💳 Buy access
button-renew = 💳 Extend access
button-auto-renewal = ♻️ Auto-renewal
button-auto-renewal-on = ♻️ Auto-renewal: on
button-auto-renewal-off = ♻️ Auto-renewal: off
button-turn-on = ✅ Turn on: { $price } from the balance
button-agree = ✅ I agree, renew for { $price }
button-turn-off = ✖️ Turn off
button-key = 🔑 My key
button-instruction = 📖 How to connect
button-support = 💬 Support
button-language = 🌐 Language · Язык
button-menu = ⬅️ Menu
button-back = ⬅️ Back
button-terms = 📄 Terms
button-privacy = 🔒 Data
button-pay-support = 💳 Questions about payments
button-moves = 📜 History of the balance
button-older = ⬇️ Earlier
button-data-yes = ✅ I agree
button-data-no = ✖️ I don't agree
button-start-trial = 🎁 Start the free period
button-tariff = { $tariff } · from { $price }
button-period = { $period } · { $price }
button-pay = ✅ I accept the terms, pay { $price }
button-pay-by = ✅ I accept the terms, pay { $price } · { $method }
button-pay-again = ✅ Confirm and pay { $price }
button-pay-again-by = ✅ Confirm and pay { $price } · { $method }
button-top-up = 💰 Top up the balance
button-balance = 💰 Balance
button-other-amount = ✍️ Another amount
method-balance = from the balance
method-card = Bank card
button-pay-url = 💳 Pay { $price }
button-check = 🔄 Check payment
button-refresh = 🔄 Refresh
button-retry = 🔄 Try again
button-copy = 📋 Copy the key
button-qr = 🔳 QR code
button-download = ⬇️ Get { $app }
button-write-support = 💬 Write to support
button-ru = 🇷🇺 Русский
button-en = 🇬🇧 English

## Profile
bot-description =
    Atlas is a VPN that connects within a minute: an app, a key, done. Try it free, pay in a few taps, write to people when something does not work.
bot-about = A VPN that connects within a minute

## Menu
menu-welcome =
    👋 Hello, { $name }!

    <b>Atlas</b> is a VPN that is set up within a minute: an app, a key, done.

    Where shall we begin?
menu-welcome-data = 🔒 We keep only what the bot can't work without; what that is: /privacy
menu-not-understood = I understand buttons and commands. Here is what we can do:
menu =
    <b>Atlas</b> is a VPN that connects within a minute.

    What shall we do?
language-choose = 🌐 Choose a language · Выберите язык
toast-language = Language: English

## Trial
trial-offer =
    🎁 <b>Free period</b>

    Full access for { $hours }: { $devices }, { $traffic }. No card is asked for and nothing is charged.

    It is given once.
trial-used =
    The free period is given once, and only before the first payment. You can't have it now.

    Access can be bought within a minute.
trial-running = You have access already: it lasts until <b>{ $until }</b>. A free period would add nothing now.
trial-cap = All free periods of today are taken. Try again tomorrow: yours is still there.
trial-off = The free period is not given out at the moment. Try again later: yours is still there.
trial-started =
    🎉 <b>Your free period has begun</b>

    It lasts until <b>{ $until }</b>.

    The key is being prepared and comes here by itself, usually within seconds. Meanwhile you can install the app.

## Buying
buy-tariff = 💳 <b>Choose a tariff</b>
buy-tariff-line = <b>{ $tariff }</b>: { $devices }, { $traffic }
buy-period = <b>{ $tariff }</b>: { $devices }. For how long?
buy-confirm =
    <b>Check your order</b>

    Tariff: <b>{ $tariff }</b> ({ $devices }, { $traffic })
    Period: <b>{ $period }</b>
    Price: <b>{ $price }</b>
    Access will last until: <b>{ $until }</b>
buy-confirm-conversion = What is left of your { $tariff } time will be converted by value; the end above includes it.
buy-confirm-minimum = { $method } takes { $minimum } or more.
buy-confirm-balance = The balance is { $balance }, { $missing } short.
buy-confirm-consent = By pressing the pay button you accept the terms: /terms
buy-unavailable = Orders are not taken at the moment. What is paid for works as usual; please try later.
order-open =
    🧾 <b>Order { $number }</b>

    { $what }: <b>{ $price }</b>
    Pay before: <b>{ $until }</b>
order-open-cryptobot = You pay in CryptoBot, in any of the coins it offers.
order-open-stars = You pay with Telegram Stars, right here in the app.
order-open-card = You pay by card, right here in the app; the receipt comes to the email that you give there.
order-open-access = Access begins by itself as soon as the money arrives; there is no need to check.
order-open-top-up = The money is on the balance as soon as it arrives; there is no need to check.
order-unpaid-yet = ⏳ The payment has not arrived yet.
order-preparing =
    🧾 <b>Order { $number }</b>

    { $what }: <b>{ $price }</b>

    The invoice is being prepared, it takes a few seconds.
order-provider-down = { $method } does not answer now: there is no invoice and nothing was charged. Try again in a minute.
order-paid =
    ✅ <b>Order { $number } is paid</b>

    { $what }: { $price }
    Access until: <b>{ $until }</b>
order-paid-ended =
    ✅ <b>Order { $number } is paid</b>

    { $what }: { $price }
    That access has ended.
order-key-pending = 🔧 The key is being prepared and comes here by itself; there is nothing to do.
order-key-ready = 🔑 The key is ready: see “My key”.
order-over =
    🧾 <b>Order { $number }</b> is closed: its time ran out, or another one took its place.
order-over-access = If you paid it, the money is not lost: access begins at the price of the order.
order-over-top-up = If you paid it, the money is not lost: it comes to the balance.
order-what = { $tariff }, { $period }
order-what-top-up = Top-up of { $amount }
order-paid-top-up =
    ✅ <b>Order { $number } is paid</b>

    { $what }
    On the balance: <b>{ $balance }</b>
invoice = Atlas: { $what }
toast-stale = That button is out of date; this is how things are now.
toast-balance-low = There is not enough on the balance
toast-price-changed = The price has changed, please check the order.
toast-terms-changed = The terms have changed: /terms. Please check the order.
toast-unpaid = The payment has not arrived yet
toast-paid = Paid ✅
toast-not-yours = You have no such order
toast-preparing = The invoice is being prepared
toast-provider-down = { $method } does not answer, try again in a minute
toast-no-orders = Orders are not taken at the moment
toast-pending = The key is still being prepared

## Profile and key
profile =
    👤 <b>{ $name }</b>
    ID: <code>{ $id }</code>
profile-balance = Balance: <b>{ $balance }</b>
access-active =
    Tariff: <b>{ $tariff }</b> ({ $devices })
    Access until: <b>{ $until }</b>
access-trial =
    Free period: { $devices }, { $traffic }
    Access until: <b>{ $until }</b>
access-pending = 🔧 The key is being prepared and comes here by itself.
access-ended = Access ended <b>{ $until }</b>.
access-none = No access yet.
key =
    🔑 <b>Your key</b>

    <code>{ $link }</code>

    Tap the key to copy it and paste it into the app. It works until <b>{ $until }</b>.
key-pending =
    🔧 <b>Your key is being prepared</b>

    Access is on until <b>{ $until }</b>. The key comes here by itself as soon as a server has taken it. That takes seconds; when a server is out of order, a little longer.
key-none = There is no key now: access has not begun, or has ended.
qr-caption = Scan the code in the app: “+” → “Scan QR code”.

## Instructions
instruction-choose = 📖 <b>How to connect</b>

    What will you use it on?
instruction =
    📖 <b>{ $platform }</b>

    1. Install the app <b>{ $app }</b>.
    2. Open “My key” here and copy the key.
    3. { $add }
    4. { $connect }

    One key serves as many devices as your plan allows.
instruction-add-happ = In the app press “+” and choose “From clipboard”.
instruction-add-hiddify = In the app press “New profile” and choose “Add from clipboard”.
instruction-connect-phone = Press the big button and allow the VPN configuration to be added.
instruction-connect-desktop = Press the big connect button.

## Help
help =
    ℹ️ <b>Help</b>

    /start: main menu
    /buy: buy or extend access
    /profile: what I have
    /instruction: how to connect
    /language: language
    /paysupport: questions about payments
    /terms: terms
    /privacy: which data is kept
    /help: this list
support = 💬 <b>Support</b>

    Tell what happened and on which device. If it is about a payment, name the order's number.
support-no-address = 💬 Write to whoever gave you the link to this bot: they are responsible for it.
terms =
    📄 <b>Terms</b>

    1. You buy VPN access for the chosen period. It begins as soon as you have paid.
    2. The key is yours: the tariff says how many devices may use it at once.
    3. No spam, no attacks on other systems, nothing against the law.
    4. If access does not work by our fault, we repair it, extend the period or give the money back: /paysupport
    5. Before your first payment you accept these terms with the pay button. When they change, we ask again.

    Version { $version }
privacy =
    🔒 <b>Data</b>

    Kept: your Telegram id, name and username, language, orders and payments, the period of access.
    Not kept: the sites you visit and what you send or receive.

    To have your data deleted write to support: /help

    Version { $version }
data-question = May we keep these data? The bot can't work without them.
data-refused =
    All right. We have stored nothing about you but the refusal itself.

    Should you change your mind, press the button or send /start.
data-refused-customer =
    The refusal is recorded. Everything you have paid for goes on as before: it can't be given without these data.

    To have your data deleted write to support: /help
paysupport =
    💳 <b>Questions about payments</b>

    You have paid and there is no access? It is usually confirmed within a minute; access begins by itself even when the invoice is closed already.

    If more than 10 minutes have passed, write to us and name the order's number. The same for a refund.

charges = <b>Last payments</b>
charge = { $when } · <b>{ $amount }</b> · { $what }: { $state }
charge-paid = paid ✅
charge-waiting = ⏳ we have the money, but it fits no unpaid order; a person will look into it
charge-credited = added to the balance
charge-refunded = given back
charge-to-balance = given back to the balance
charge-partly-back = a part of it was given back
charge-charged-back = taken back through the bank or payment system
charge-asked-back = on its way back: the provider is asked to return it
charge-without-order = without an order
order-number = order { $number }

## Balance
moves = 📜 <b>History of the balance</b>
moves-none = 📜 Nothing has happened on the balance yet.
move = { $when } · <b>{ $amount }</b> · { $what }
move-top-up = top-up
move-rest = more than the price came
move-duplicate = one more payment for what was paid already
move-payment = your payment
move-refund = given back
move-refund-taken = a top-up was given back
move-chargeback = a payment was taken back through the bank or payment system
move-sale = access bought
move-gift = gift
move-gift-returned = a gift came back
move-reward = reward
move-reward-back = reward taken back
move-withdrawal = withdrawal
move-withdrawal-back = a withdrawal came back
move-operator-credit = added by an operator
move-operator-debit = taken by an operator
move-other = correction
balance = 💰 On the balance: <b>{ $balance }</b>
balance-earned = Earned of it: { $amount }
balance-top-up = Access can be bought from the balance with one tap. How much do you want to add?
top-up-ask = Write the amount in roubles, from { $least } to { $most }: for example, 500 or 499.50.
top-up-refused-not-a-number = ⚠️ That does not look like an amount: one number is needed, without sums and words.
top-up-refused-other-digits = ⚠️ Please use plain digits: 0–9.
top-up-refused-other-currency = ⚠️ The balance is topped up in roubles only.
top-up-refused-below-zero = ⚠️ The amount can't be negative.
top-up-refused-zero = ⚠️ The amount must be above zero.
top-up-refused-too-fine = ⚠️ No more than two digits after the point.
top-up-refused-too-little = ⚠️ That is less than the least amount.
top-up-refused-too-much = ⚠️ That is more than the largest amount.
top-up-confirm = <b>Top-up of { $amount }</b>

## Auto-renewal
auto-renewal-off =
    ♻️ <b>Auto-renewal</b>

    It is off. If you turn it on:
auto-renewal-on =
    ♻️ <b>Auto-renewal</b>

    It is on:
auto-renewal-terms =
    What: <b>{ $what }</b>
    How much: <b>{ $price }</b>, from your balance
    When: <b>{ $charged_from }</b>, shortly before access ends ({ $until })

    The key stays the same. Promo codes do not apply. If the price rises, we do not take the new one before we have told you { $notice } ahead. You can turn it off at any time.
auto-renewal-balance = On your balance: <b>{ $balance }</b>
auto-renewal-missing = { $missing } is missing: top up before access ends and it is extended by itself.
auto-renewal-price = ⚠️ The price has risen. Access is extended for { $price } only if you agree.
auto-renewal-not-sold = ♻️ { $what }: this is not sold any more, so it is not extended by itself. Access runs until <b>{ $until }</b>; then another plan or period can be chosen.
auto-renewal-nothing = ♻️ Auto-renewal repeats your last purchase while access runs. There is nothing to repeat now.
toast-auto-renewal-on = Auto-renewal is on
toast-auto-renewal-off = Auto-renewal is off

## Messages
message-receipt-by-itself = ♻️ This is auto-renewal: the money was taken from your balance. It can be turned off in the profile.
message-renewal-announced =
    ♻️ <b>The price of auto-renewal changes</b>

    { $tariff }, { $period }: it was { $known }, it will be <b>{ $price }</b>.
    We take it from the balance no earlier than { $charged_from }. If that does not suit you, turn auto-renewal off: access then ends { $until }.
message-renewal-low =
    ♻️ <b>Too little money for auto-renewal</b>

    { $tariff }, { $period }: { $price }. <b>{ $missing }</b> is missing on your balance.
    Top it up before { $until } and access is extended by itself.
message-renewal-price =
    ♻️ <b>Auto-renewal waits for you to agree</b>

    { $tariff }, { $period }: the price is now <b>{ $price }</b>, and we could not tell you in time. We do not take it unless you agree, and access ends { $until }.
message-renewal-not-sold =
    ♻️ <b>Auto-renewal will not work</b>

    What you bought is not sold any more. Access ends { $until }; choose another plan or period.
message-renewal-closed =
    ♻️ <b>Auto-renewal has not worked yet</b>

    No payments are taken at the moment. Unless that changes before, access ends { $until }; the money stays on your balance.
message-receipt =
    ✅ <b>Payment received</b>

    Order { $number }: { $tariff }, { $period }, { $price }
    Access until: <b>{ $until }</b>
message-receipt-rest = You paid more than the price: { $amount } came to your balance.
message-credited = 💰 We got one more payment of yours for what was paid already: { $amount } came to your balance.
message-refund-provider = ↩️ { $amount } went back to you the way you paid.
message-refund-balance = ↩️ { $amount } went back to you: the money is on your balance.
message-refund-bank = ↩️ { $amount } went back to you by transfer.
message-refund-order = This is the refund of order { $number }.
message-refund-until = The access that this order paid for was taken off. Access now runs until <b>{ $until }</b>.
message-receipt-top-up =
    ✅ <b>Payment received</b>

    Order { $number }: top-up, { $price }
    Added to the balance: <b>{ $amount }</b>
message-receipt-renewed = The key is the same, there is nothing to change.
message-receipt-pending = 🔧 The key is being prepared and comes here by itself; there is nothing to do.
message-key =
    🔑 <b>Your key is ready</b>

    <code>{ $link }</code>

    Tap the key to copy it and paste it into the app. It works until <b>{ $until }</b>.
message-expired = ⌛️ Access has ended. Extend it and a new key will come.
message-expired-trial = ⌛️ The free period has ended. Did you like it? Access can be bought within a minute.

message-reminder = ⏳ Access ends in { $left }: <b>{ $until }</b>. Extend it now: the key stays the same, and the time left is kept.
message-trial-tip = 👋 Are you connected? The free period goes on for another { $left }, until <b>{ $until }</b>. If something did not work, open the instructions: it takes two minutes.
message-trial-offer = 🎁 The free period ends in { $left }: <b>{ $until }</b>. Buy access ahead of time: the key stays the same, and the time left is kept.
message-trial-last = ⏰ The last hours: the free period ends in { $left }, <b>{ $until }</b>. Buy access so as not to be without it: the key stays the same.

## A new key, a freeze, a ban
banned =
    ⛔️ <b>Your account is banned</b>

    Reason: { $reason }

    Access has ended, no orders are taken, and the balance stands still. If this is a mistake, write to support.
access-frozen =
    ❄️ Access is frozen until <b>{ $frozen }</b> and comes back by itself.
    It then runs until <b>{ $until }</b>.
key-frozen =
    ❄️ <b>Access is frozen</b>

    The key does not work now. It comes back by itself <b>{ $until }</b> and stays the same; you can bring it back sooner.
key-reissued =
    🔧 <b>Your new key is being prepared</b> and comes here by itself.

    Until then the old one works:

    <code>{ $link }</code>

    As soon as the new one works on a server, the old one is switched off there.
reissue-confirm =
    🔁 <b>A new key in place of the old one?</b>

    Your end stays the same. The new key must be added on all your devices: the old one is switched off as soon as the new one works.

    { $left ->
        [one] { $left } more today.
       *[other] { $left } more today.
    }
reissue-too-often =
    A key can be replaced { $a_day ->
        [one] once
       *[other] { $a_day } times
    } in 24 hours. There is no new one now; if others got hold of your key, write to support.
freeze-choose =
    ❄️ <b>Freeze access</b>

    While it is frozen the key does not work and your time does not run: the end moves by as much. For up to { $most ->
        [one] { $most } day
       *[other] { $most } days
    }, once in { $every ->
        [one] { $every } day
       *[other] { $every } days
    }. For how many days?
freeze-confirm =
    ❄️ <b>Freeze until { $until }?</b>

    The key stops working now and comes back by itself. Access then runs until <b>{ $ends }</b>. You can bring it back sooner at any time, and freeze it again not before { $every ->
        [one] { $every } day
       *[other] { $every } days
    } have passed.
freeze-trial = A free period can't be frozen: its hours run from its start.
freeze-too-often = You can freeze access again from <b>{ $when }</b>.
thaw-confirm =
    ☀️ <b>Bring access back now?</b>

    It runs until <b>{ $ends }</b>. You can freeze it again only { $every ->
        [one] { $every } day
       *[other] { $every } days
    } after the last time.
buy-confirm-frozen = ❄️ Access is frozen until <b>{ $until }</b>: what you buy is added to the end and begins to run after the freeze. You can bring access back sooner in the profile.
order-frozen = ❄️ Access is frozen until <b>{ $until }</b>. The time was added to the end; you can bring access back sooner in the profile.
message-thawed =
    ☀️ <b>The freeze is over</b>

    The key is the same and works again within a minute. Access until <b>{ $until }</b>.
message-revoked = ⛔️ An administrator ended your access. For questions write to support.
message-unbanned = ✅ <b>Your account is no longer banned</b>
message-unbanned-until = Access runs again until <b>{ $until }</b>; a new key comes here by itself.
finance-why-banned = The customer of this order is banned: lift the ban first.
button-reissue = 🔁 New key
button-reissue-confirm = Yes, a new key
button-freeze = ❄️ Freeze
button-freeze-confirm = Yes, freeze
button-thaw = ☀️ Bring access back
button-thaw-confirm = Yes, bring it back

## Operators: customers
button-customers = 🔎 Customers
button-customers-card = 👤 Customer { $number }
button-customers-history = 🕘 History
button-customers-grant = ➕ Give access
button-customers-reissue = 🔁 New key
button-customers-freeze = ❄️ Freeze
button-customers-thaw = ☀️ Thaw
button-customers-revoke = ⛔️ Revoke access
button-customers-ban = 🚫 Ban
button-customers-unban = ✅ Unban
customers-ask =
    🔎 <b>Customers</b>

    Whom to find? A Telegram id, the number of a customer or an order, @name, the id of a purchase or a charge.
customers-not-found = No one was found.
customers-several = Several fit:
customers-who =
    👤 <b>{ $name }</b> { $username }
    Telegram <code>{ $id }</code>, customer { $number }
customers-no-access = There never was access.
customers-access-active = Access: { $tariff }, until { $until }
customers-access-frozen = Access is frozen: { $tariff }, until { $until }
customers-access-expired = Access ended: { $tariff }, { $until }
customers-frozen-until = Frozen until { $until }
customers-banned = 🚫 Banned { $when } by operator { $number }: { $reason }
customers-history = 🕘 <b>History of customer { $number }</b>
customers-history-none = 🕘 Customer { $number } has no history.
customers-history-line = { $when } · { $what }, { $tariff }: { $before } → { $after } ({ $about })
customers-by-operator = operator { $number }
customers-by-payment = payment { $number }
customers-by-itself = by itself or the customer
customers-event-granted = given
customers-event-extended = extended
customers-event-activated = key on a server
customers-event-expired = ended
customers-event-reissued = new key
customers-event-frozen = frozen
customers-event-thawed = thawed
customers-event-revoked = revoked
customers-event-renewed = renewed by itself
customers-event-converted = converted
customers-event-refunded = taken off by a refund
customers-event-restored = back after a ban
customers-ask-tariff = Which tariff?
customers-ask-days = For how many days? Pick, or write a number.
customers-ask-reason = Why? Write the reason: the audit log keeps it, and that of a ban is shown to the customer.
customers-days-refused = ⚠️ A whole number of days is needed, from 1 to { $most }.
customers-before = <b>Now</b>
customers-after = <b>Then</b>
customers-will-be-banned = The customer will be banned: no access, no orders.
customers-will-be-unbanned = The ban will be lifted.
customers-new-key = The key will be new; the old one works on each server until the new one does there.
customers-reason-seen = Reason, which the customer reads: { $reason }
customers-title-grant = ➕ <b>Give access to customer { $number }</b>
customers-title-reissue = 🔁 <b>A new key for customer { $number }</b>
customers-title-freeze = ❄️ <b>Freeze the access of customer { $number }</b>
customers-title-thaw = ☀️ <b>Thaw the access of customer { $number }</b>
customers-title-revoke = ⛔️ <b>Revoke the access of customer { $number }</b>
customers-title-ban = 🚫 <b>Ban customer { $number }</b>
customers-title-unban = ✅ <b>Unban customer { $number }</b>
customers-why-no-access = there is no access
customers-why-frozen = access is frozen already
customers-why-not-frozen = access is not frozen
customers-why-trial = a free period is not frozen
customers-why-days = not so many days
customers-why-banned = the customer is banned
customers-why-not-banned = the customer is not banned
customers-why-not-allowed = your role may not do that
customers-why-no-account = there is no such customer

## Operators: money
button-finance = 🏦 Money
button-finance-waiting = ⏳ Waiting
button-finance-books = 📚 Books
button-finance-month = 📅 Month
button-finance-differences = ⚖️ Against the providers
button-finance-more = ⬇️ More
button-finance-paid-out = 🏛 A payout arrived in the bank
button-finance-owners = 👤 The owner spent it
button-finance-payment = Payment { $number }
button-finance-refund = ↩️ Give it back
button-finance-ask-back = ↩️ Ask the provider to give it back
button-finance-taken = ⚠️ The provider took it back by itself
button-finance-as-charge = ↩️ Book it as the return of its whole charge
button-finance-route-provider = ↩️ By the provider, to who paid
button-finance-route-wallet = 💰 To the balance that paid
button-finance-route-balance = 💰 To the customer's balance
button-finance-route-bank = 🏛 From the bank account, by hand
button-finance-access-keep = Keep the access
button-finance-access-take = Take off what is left of it
button-finance-search = 🔎 Find a customer
button-finance-event = Event { $number }
button-finance-customer = Customer { $number }
button-finance-assign = 🧾 To an order…
button-finance-assign-to = 🧾 To order { $number }
button-finance-credit = 💰 To a customer's balance…
button-finance-credit-to = 💰 To the balance of customer { $number }
button-finance-given-back = ↩️ The provider gave it back
button-finance-paid-back = 🏛 We paid it back
button-finance-note = 🗒 No money came
button-finance-give = ➕ Credit
button-finance-take = ➖ Debit
button-finance-no-fee = No fee
button-finance-confirm = ✅ Confirm
button-finance-cancel = ✖️ Cancel
toast-finance-role = Your role may not do that.
toast-finance-changed = Things changed while you looked. Please check again.
finance = 🏦 <b>Money</b>
finance-waits = Waiting: { $unmatched }; further charges: { $duplicate }.
finance-nothing = There is nothing here for your role.
finance-waiting = ⏳ <b>Waiting</b>
finance-waiting-none = ✅ Nothing waits.
finance-waiting-line = { $number } · { $when } · <b>{ $amount }</b> · { $provider } · { $status }
finance-event = <b>Event { $number }</b>, { $provider }
    <code>{ $charge }</code>
finance-event-when = Came: { $when }
finance-event-state = State: <b>{ $state }</b>
finance-event-said = The provider said: <b>{ $amount }</b>
finance-event-lies = In suspense: <b>{ $amount }</b>
finance-event-fee = Fee of the provider: { $amount }
finance-event-why = Reason: { $why }
finance-event-payer = Paid by Telegram id <code>{ $number }</code>
finance-event-number = event { $number }
finance-event-new = not processed yet
finance-event-settled = an order is paid
finance-event-duplicate = a further charge
finance-event-unmatched = fits nothing
finance-event-no-money = no money
finance-event-assigned = assigned to an order
finance-event-credited = added to a balance
finance-event-moved = moved by the owner
finance-event-refunded = given back
finance-order = order { $number }: { $what }, { $price }, { $status }
finance-order-open = unpaid
finance-order-paid = paid
finance-order-expired = expired
finance-order-replaced = replaced
finance-orders = <b>Last orders</b>
finance-charge = { $number } · { $when } · <b>{ $amount }</b> · { $provider } <code>{ $charge }</code>: { $state }
finance-customer = <b>Customer { $number }</b>: { $name }, { $username }, <code>{ $id }</code>
finance-wallets = Balance: topped up <b>{ $topped_up }</b>, earned <b>{ $earned }</b>
finance-access = Access until: { $until }
finance-balance-of = balance of customer { $number }
finance-search = 🔎 Whom? A Telegram id, a number of a customer or an order, an @name, an id of a purchase, a charge or an invoice.
finance-not-found = Nothing was found.
finance-several = Several match:
finance-no-order = ⚠️ There is no such order: its number is needed, as the customer sees it.
finance-title-assign = 🧾 <b>Event { $number }: assign to an order</b>
finance-title-credit = 💰 <b>Event { $number }: to a customer's balance</b>
finance-title-given-back = ↩️ <b>Event { $number }: the provider gave it back</b>
finance-title-paid-back = 🏛 <b>Event { $number }: paid back from the bank account</b>
finance-title-note = 🗒 <b>Event { $number }: no money came</b>
finance-title-give = ➕ <b>Credit customer { $number }</b>
finance-title-take = ➖ <b>Debit customer { $number }</b>
finance-ask-order = Which order's number?
finance-ask-account = Whose balance? A Telegram id, a number of a customer or an order, an @name.
finance-ask-worth = What does this money count for? An amount in { $currency }.
finance-ask-amount = How much? An amount in { $currency }.
finance-ask-paid = How much moved on the bank account? An amount in { $currency }.
finance-ask-fee = How much did the bank take beside it? An amount in { $currency }.
finance-ask-reason = Why? These words stay in the books and in the audit log.
finance-reason = Reason: { $reason }
finance-reason-refused = ⚠️ A reason has { $least } to { $most } characters of plain text.
finance-amount-not-a-number = ⚠️ That is no amount: one number is needed, without sums and words.
finance-amount-other-digits = ⚠️ Please use plain digits: 0–9.
finance-amount-other-currency = ⚠️ Here an amount is in { $currency } only.
finance-amount-below-zero = ⚠️ The amount can't be negative: a debit has a button of its own.
finance-amount-zero = ⚠️ The amount must be above zero.
finance-amount-too-fine = ⚠️ Too many digits after the point for { $currency }.
finance-amount-too-much = ⚠️ That is too much for one time.
finance-would-be = <b>It would be so:</b>
finance-change = { $what }: { $before } → <b>{ $after }</b>
finance-done = ✅ <b>Done</b>
finance-refused = ⛔️ <b>Refused, nothing was changed:</b>
    { $why }
finance-why-not-allowed = Your role may not do that.
finance-why-no-event = There is no such event.
finance-why-ended = This event was ended before.
finance-why-nothing-lies = This money is not in suspense.
finance-why-has-money = Money came with this event: it ends where that goes.
finance-why-duplicate = This is a further charge of a paid order: it goes to a balance or back.
finance-why-no-order = There is no such order.
finance-why-order-paid = This order is paid already.
finance-why-not-sold = What is in this order is not sold now.
finance-why-beyond = What is beyond the price would be more than came.
finance-why-no-account = There is no such customer.
finance-why-no-amount = The amount must be above zero.
finance-why-all-or-nothing = All of it goes back, or nothing.
finance-why-worth = This money can't count for that: it came in this very currency, or its provider said what it is.
finance-why-spent = The balance has spent this money: it can't go back.
finance-why-no-payment = There is no such payment.
finance-why-went-back = It went back before.
finance-why-part-went-back = A part of it went back by its provider: the rest goes back there too.
finance-why-under-way = Its refund is under way: wait for its end.
finance-why-out-of-suspense = It was given back out of suspense.
finance-why-nothing-paid = Nothing was paid for it.
finance-why-not-in-books = What came for it is not in the books.
finance-why-not-that-way = It can't go back that way: its card shows the ways there are.
finance-why-provider-cant = Its provider gives nothing back: give it to the balance or by hand.
finance-why-fee-currency = The fee is in the currency of what was paid.
finance-why-fee-beyond = The fee is more than what was paid: no bank takes that.
finance-why-booked = Its provider's debit is in the books.
finance-why-by-hand = It was paid back by hand: what its provider takes is booked when it lists it.
finance-why-too-low = The balance does not hold that much.
finance-nowhere = There is no such act under way. Here is where one begins.
finance-books = 📚 <b>Trial balance</b>: debits less credits
finance-books-none = 📚 There is nothing in the books yet.
finance-books-sum = ✅ { $currency }: debits { $debit } = credits { $credit }
finance-books-differ = ⛔️ { $currency }: debits { $debit } ≠ credits { $credit }
finance-month = 📅 <b>{ $month }</b>, { $state }
finance-month-closed = closed
finance-month-open = so far
finance-month-sales = <b>Sold, at list price</b>
finance-month-sale = { $method } · { $tariff }: { $amount } ({ $count })
finance-month-others = <b>Earned less, and spent</b>
finance-month-other = <code>{ $code }</code> { $amount }
finance-month-accounts = <b>Accounts before → after</b>: debits less credits
finance-month-account = <code>{ $code }</code> { $opening } → { $closing }
finance-month-more = …and { $count } lines more: make books MONTH={ $month }
finance-month-none = Nothing is in the books of this month.
finance-month-suspense = ⏳ Money that fits nothing waits since { $when }.
finance-statement = 📖 <b>{ $code }</b>, { $currency }: plus is a debit, minus a credit
finance-line = { $when } · <b>{ $amount }</b> · { $others } · { $about }
finance-differences = ⚖️ <b>Differences against the providers</b>
finance-differences-none = ✅ Nothing differs from the providers.
finance-difference = <b>{ $provider }</b> · { $what }: { $state }
    provider: <b>{ $said }</b>, books: <b>{ $booked }</b>, seen { $when }
finance-difference-missing-here = not in the books
finance-difference-missing-there = not at the provider
finance-difference-differs = the amounts differ
finance-difference-balance = another balance
finance-compared = { $provider }: compared { $when }, { $lines } lines, { $matched } match
finance-compared-never = Nothing was compared yet.
finance-event-left = Left the provider's account: <b>{ $amount }</b>
finance-title-paid-out = 🏛 <b>Event { $number }: a payout arrived in the bank</b>
finance-title-owners = 👤 <b>Event { $number }: the owner spent it</b>
finance-why-nothing-left = This event does not tell of anything that left its provider.
finance-payment-number = payment { $number }
finance-access-of = access of customer { $number }
finance-event-asked-back = the provider is asked to give it back
finance-booked = <b>Booked</b>
finance-pick = ⚠️ Please choose by a button.
finance-title-refund = ↩️ <b>Payment { $number }: give it back</b>
finance-title-ask-back = ↩️ <b>Event { $number }: ask the provider to give it back</b>
finance-title-as-charge = ↩️ <b>Event { $number }: its whole charge went back</b>
finance-title-taken = ⚠️ <b>Event { $number }: the provider took it back by itself (chargeback)</b>
finance-ask-route = How does it go back? All that was paid does.
finance-ask-access = What becomes of the access that was paid for?
finance-by = operator { $number }

# The work of the shop, for operators

button-operations = ⚙️ Operations
button-operations-pending = ⏳ Keys
button-operations-nodes = 🖥 Nodes
button-operations-node = 🖥 To the node
button-operations-sweeps = 🔁 Sweeps
button-operations-flags = 🎚 Switches
button-operations-updates = 📨 Updates
button-operations-update = Update { $number }
button-operations-gone = 🗑 Given up
button-operations-events = 💳 Events
button-operations-messages = 💬 Messages
button-operations-message = Message { $number }
button-operations-refunds = ↩️ Refunds
button-operations-refresh = 🔄 Refresh
button-operations-at-the-desk = 🏦 This event at the desk for money
button-operations-sweep = ▶️ Run now
button-operations-probe = 🔌 Ask the node now
button-operations-drain = 🚰 Take customers off…
button-operations-undrain = ↩️ Let it take customers again…
button-operations-on = 🟢 Switch on
button-operations-off = ⏸ Switch off
button-operations-on-of = 🟢 Switch on { $name }
button-operations-off-of = ⏸ Switch off { $name }
button-operations-update-again = 🔁 Handle again
button-operations-update-give-up = 🗑 Give up…
button-operations-event-again = 🔁 Settle again
button-operations-event-aside = 📥 Set the money aside…
button-operations-message-again = 🔁 Send again (may come twice)
operations = ⚙️ <b>Operations</b>
operations-pending = ⏳ Keys not active: <b>{ $count }</b>, the oldest { $age }
operations-nodes = 🖥 Nodes: <b>{ $count }</b>, in trouble { $troubled }
operations-sweeps = 🔁 Sweeps: <b>{ $count }</b>, not well: { $unwell }
operations-off-now = 🎚 Switched off: { $names }
operations-updates = 📨 Updates waiting: <b>{ $count }</b>, { $age }; given up: { $gone }
operations-events = 💳 Payments not settled: <b>{ $count }</b>, { $age }; fit nothing: { $unmatched }
operations-messages = 💬 Messages: unclear <b>{ $unclear }</b>, failed { $failed }, unreachable { $unreachable }
operations-refunds = ↩️ Refunds at providers: <b>{ $count }</b>, { $age }
operations-queues = 📦 <b>Queues: still to be done</b>
operations-queues-none = 📦 The queues owe nothing.
operations-queue = { $name }: <b>{ $count }</b>, the oldest { $age }
operations-age-s = { $number } s
operations-age-m = { $number } min
operations-age-h = { $number } h
operations-age-d = { $number } d
operations-pending-list = ⏳ <b>Paid or granted, and not active yet</b>
operations-pending-none = ✅ All keys are active.
operations-pending-line = Customer { $number } · { $tariff } · since { $when } (<b>{ $age }</b>)
operations-node-said = { $name }: { $what } · attempts { $count } · next in { $age }
operations-not-asked = no answer yet
operations-node-list = 🖥 <b>Nodes</b>
operations-node-none = There are no nodes.
operations-node-line = <b>{ $name }</b> · { $state } · not confirmed: { $count }
operations-node-active = active
operations-node-draining = draining
operations-node-retired = retired
operations-node-clients = Clients it is to hold: { $count }
operations-node-clock = Clock: { $seconds } s
operations-node-failures = Failures in a row: { $count }; of reconciling: { $reconcile }
operations-node-lost = ⛔️ No answer since { $when }
operations-node-open = 🔌 Not asked before { $when } ({ $age } more)
operations-node-probe-due = 🔌 It does not answer; one probe is due
operations-node-reconcile-open = 🔌 Not asked by reconciling for { $age } more
operations-node-clock-off = 🕑 Its clock is off: { $seconds } s
operations-trouble-authentication = 🔑 The node does not take our key
operations-trouble-configuration = 🛠 The node's configuration won't do
operations-trouble-answer = ❓ The node does not answer as it should
operations-trouble-certificate = 📜 The node's certificate is not the one on record
operations-state-of = node { $name }
operations-breaker-of = calls to node { $name }
operations-breaker-open = stopped
operations-breaker-probe = one probe
operations-sweep-list = 🔁 <b>Sweeps</b>: last run, how it ended, when one ended well
operations-sweep-line = { $sign } <code>{ $name }</code> · { $age } · { $outcome } · { $good }
operations-outcome-done = ended well
operations-outcome-failed = failed
operations-outcome-timed-out = ran out of time
operations-sweep = 🔁 <b>{ $name }</b>: { $state }
operations-run = { $when } · { $outcome } · taken { $claimed }, done { $done }, failed { $failed } · { $seconds } s { $error }
operations-on = on
operations-off = off
operations-flags = 🎚 <b>Switches</b>
operations-flag-line = <code>{ $name }</code>: <b>{ $state }</b>, switched: { $when }
operations-update-list = 📨 <b>Updates that are not handled yet</b>
operations-update-none = ✅ All updates are handled.
operations-gone-list = 🗑 <b>Updates that were given up</b>
operations-gone-none = ✅ No update was given up.
operations-update-line = { $number } · { $kind } · { $when } ({ $age }) · attempts { $count } · { $error }
operations-update-number = update { $number }
operations-update-waiting = waiting
operations-update-given-up = given up
operations-update-done = handled
operations-event-list = 💳 <b>Payments that can't be settled</b>
operations-event-none = ✅ All payments are settled.
operations-event-line = { $number } · { $provider } · { $kind } · { $when } ({ $age })
operations-suspense = in suspense
operations-message-list = 💬 <b>Messages that did not arrive, or may not have</b>
operations-message-none = ✅ There are none.
operations-message-line = { $number } · { $kind } · customer { $account } · { $when } · <b>{ $state }</b>
operations-message-why = Attempts { $count }: { $error }
operations-message-number = message { $number }
operations-message-queued = to be sent
operations-message-sent = sent
operations-message-unclear = unclear
operations-message-failed = failed
operations-message-unreachable = unreachable
operations-message-cancelled = cancelled
operations-refund-list = ↩️ <b>Refunds that wait for their providers</b>
operations-refund-none = ✅ No refund is on its way.
operations-refund-line = Event { $number } · { $provider } · { $state } · { $age } · attempts { $count } · { $answer }
operations-refund-requested = not asked for yet
operations-refund-sent = asked for, no answer
operations-ask-reason = Why? These words stay in the audit log.
operations-title-sweep = ▶️ <b>Sweep { $number }: run now</b>
operations-title-probe = 🔌 <b>Node { $number }: ask now</b>
operations-title-drain = 🚰 <b>Node { $number }: take customers off</b>
operations-title-undrain = ↩️ <b>Node { $number }: take customers again</b>
operations-title-on = 🟢 <b>{ $number }: switch on</b>
operations-title-off = ⏸ <b>{ $number }: switch off</b>
operations-title-update-again = 🔁 <b>Update { $number }: handle again</b>
operations-title-update-give-up = 🗑 <b>Update { $number }: give up</b>
operations-title-event-again = 🔁 <b>Event { $number }: settle again</b>
operations-title-event-aside = 📥 <b>Event { $number }: set the money aside</b>
operations-title-message-again = 🔁 <b>Message { $number }: send again</b>
operations-means-sweep = It runs beside its schedule. One that is running already is not run twice.
operations-means-probe = The node gets one probe. If it answers, calls go on; if not, they stop again.
operations-means-drain = It is given no new customers. Those it has leave it page by page, each only once another node lets them in: it can take minutes, and no customer loses access by it.
operations-means-undrain = It takes new customers again, and those who were taken off come back page by page. Their keys stay the same.
operations-means-on = The path opens at once.
operations-means-off = The path closes at once, for the whole shop.
operations-means-update-again = The customer is answered now. After hours they may wonder why.
operations-means-update-give-up = The customer gets no answer. For as long as the update is kept, it can be handled again.
operations-means-event-again = Settling is tried at once. The money counts once, however often that is done.
operations-means-event-aside = The money goes to suspense. From there it is assigned, credited or given back.
operations-means-message-again = It is sent once more: if the first one arrived, the customer gets two.
operations-why-not-allowed = Your role may not do that.
operations-why-missing = There is no such thing here.
operations-why-busy = It is being done at this moment. Look again in a minute.
operations-why-had-effect = This update was handled.
operations-why-given-up = This update was given up before.
operations-why-tells-of-money = There is a payment in this update: it can't be given up before that is booked.
operations-why-settled = This event was settled or set aside.
operations-why-no-amount = How much came can't be read from this event: there is nothing to set aside.
operations-why-not-listed = This message is none that is sent again.
operations-why-once = Messages of this kind are never sent twice.
operations-why-out-of-reach = The customer can't be reached: it comes by itself when they write to the bot.
operations-why-too-late = This message is not needed any more: its time is over.
operations-why-not-open = Calls to this node are not stopped.
operations-why-retired = This node is retired.
operations-why-last-node = No other node that is well takes customers: new ones would get no key.
operations-why-same = It stands so already.
