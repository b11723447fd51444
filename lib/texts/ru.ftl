# Тексты бота. В каждом файле одни и те же имена; значения от людей экранирует код.

## Имена
tariff-basic = Basic
tariff-plus = Plus
platform-ios = iPhone и iPad
platform-android = Android
platform-windows = Windows
platform-macos = macOS
platform-linux = Linux
period = { $days ->
    [one] { $days } день
    [few] { $days } дня
   *[other] { $days } дней
}
left-hours = { $hours ->
    [one] { $hours } час
    [few] { $hours } часа
   *[other] { $hours } часов
}
left-minutes = { $minutes ->
    [one] { $minutes } минуту
    [few] { $minutes } минуты
   *[other] { $minutes } минут
}
devices = { $count ->
    [one] { $count } устройство
    [few] { $count } устройства
   *[other] { $count } устройств
}
hours = { $count ->
    [one] { $count } час
    [few] { $count } часа
   *[other] { $count } часов
}
traffic = { $gb } ГБ
traffic-unlimited = трафик без ограничений

## Кнопки
button-trial = 🎁 Попробовать бесплатно
button-profile = 👤 Профиль
button-buy = 💳 Купить доступ
button-renew = 💳 Продлить доступ
button-auto-renewal = ♻️ Автопродление
button-auto-renewal-on = ♻️ Автопродление: включено
button-auto-renewal-off = ♻️ Автопродление: выключено
button-turn-on = ✅ Включить: { $price } с баланса
button-agree = ✅ Согласен, продлевать за { $price }
button-turn-off = ✖️ Выключить
button-key = 🔑 Мой ключ
button-instruction = 📖 Как подключиться
button-support = 💬 Поддержка
button-language = 🌐 Язык · Language
button-menu = ⬅️ В меню
button-back = ⬅️ Назад
button-terms = 📄 Условия
button-privacy = 🔒 Данные
button-pay-support = 💳 Вопросы по оплате
button-moves = 📜 История баланса
button-older = ⬇️ Раньше
button-data-yes = ✅ Согласен
button-data-no = ✖️ Не согласен
button-start-trial = 🎁 Начать бесплатный период
button-tariff = { $tariff } · от { $price }
button-period = { $period } · { $price }
button-pay = ✅ Принимаю условия, оплатить { $price }
button-pay-by = ✅ Принимаю условия, оплатить { $price } · { $method }
button-pay-again = ✅ Подтвердить и оплатить { $price }
button-pay-again-by = ✅ Подтвердить и оплатить { $price } · { $method }
button-top-up = 💰 Пополнить баланс
button-balance = 💰 Баланс
button-other-amount = ✍️ Другая сумма
method-balance = с баланса
method-card = Банковская карта
button-pay-url = 💳 Оплатить { $price }
button-check = 🔄 Проверить оплату
button-refresh = 🔄 Обновить
button-retry = 🔄 Попробовать ещё раз
button-copy = 📋 Скопировать ключ
button-qr = 🔳 QR-код
button-download = ⬇️ Скачать { $app }
button-write-support = 💬 Написать в поддержку
button-ru = 🇷🇺 Русский
button-en = 🇬🇧 English

## Профиль бота
bot-description =
    Atlas — это VPN, который подключается за минуту: приложение, ключ, готово. Попробуйте бесплатно, оплатите в пару касаний, напишите людям, если что-то не работает.
bot-about = VPN, который подключается за минуту

## Меню
menu-welcome =
    👋 Здравствуйте, { $name }!

    <b>Atlas</b> — VPN, который подключается за минуту: приложение, ключ — и готово.

    Выберите, с чего начать:
menu-welcome-data = 🔒 Мы храним только то, без чего бот не работает; что именно — /privacy
menu-not-understood = Я понимаю кнопки и команды. Вот что можно сделать:
menu =
    <b>Atlas</b> — VPN, который подключается за минуту.

    Что сделаем?
language-choose = 🌐 Выберите язык · Choose a language
toast-language = Язык: русский

## Пробный период
trial-offer =
    🎁 <b>Бесплатный период</b>

    Полный доступ на { $hours }: { $devices }, { $traffic }. Карта не нужна, платить ни за что не придётся.

    Период даётся один раз.
trial-used =
    Бесплатный период даётся один раз и только до первой оплаты. Сейчас он недоступен.

    Доступ можно купить — это займёт минуту.
trial-running = Доступ уже есть: он действует до <b>{ $until }</b>. Бесплатный период сейчас ничего бы не добавил.
trial-cap = На сегодня все бесплатные периоды разобраны. Попробуйте завтра — он останется за вами.
trial-off = Бесплатный период сейчас не выдаётся. Попробуйте позже — он останется за вами.
trial-started =
    🎉 <b>Бесплатный период начался</b>

    Он действует до <b>{ $until }</b>.

    Ключ готовится: он сам придёт сюда, обычно за несколько секунд. А пока можно поставить приложение.

## Покупка
buy-tariff = 💳 <b>Выберите тариф</b>
buy-tariff-line = <b>{ $tariff }</b> — { $devices }, { $traffic }
buy-period = <b>{ $tariff }</b> — { $devices }. На какой срок?
buy-confirm =
    <b>Проверьте заказ</b>

    Тариф: <b>{ $tariff }</b> ({ $devices }, { $traffic })
    Срок: <b>{ $period }</b>
    Цена: <b>{ $price }</b>
    Доступ будет до: <b>{ $until }</b>
buy-confirm-conversion = Оставшееся время тарифа { $tariff } будет пересчитано по стоимости, срок выше это уже учитывает.
buy-confirm-minimum = { $method } принимает от { $minimum }.
buy-confirm-balance = На балансе { $balance }, не хватает { $missing }.
buy-confirm-consent = Нажимая кнопку оплаты, вы принимаете условия: /terms
buy-unavailable = Сейчас заказы не принимаются. Уже оплаченное действует как обычно; попробуйте, пожалуйста, позже.
order-open =
    🧾 <b>Заказ { $number }</b>

    { $what } — <b>{ $price }</b>
    Оплатить до: <b>{ $until }</b>
order-open-cryptobot = Оплата — в CryptoBot, любой из предложенных криптовалют.
order-open-stars = Оплата — звёздами Telegram, прямо в приложении.
order-open-card = Оплата — картой, прямо в приложении; чек придёт на адрес, который вы там укажете.
order-open-access = Как только деньги придут, доступ включится сам; проверять не обязательно.
order-open-top-up = Как только деньги придут, они появятся на балансе; проверять не обязательно.
order-unpaid-yet = ⏳ Оплата пока не пришла.
order-preparing =
    🧾 <b>Заказ { $number }</b>

    { $what } — <b>{ $price }</b>

    Счёт готовится, это займёт несколько секунд.
order-provider-down = { $method }: сейчас нет ответа, счёт не создан и деньги не списаны. Попробуйте ещё раз через минуту.
order-paid =
    ✅ <b>Заказ { $number } оплачен</b>

    { $what } — { $price }
    Доступ до: <b>{ $until }</b>
order-paid-ended =
    ✅ <b>Заказ { $number } оплачен</b>

    { $what } — { $price }
    Этот доступ уже закончился.
order-key-pending = 🔧 Ключ готовится и придёт сюда сам, ничего делать не нужно.
order-key-ready = 🔑 Ключ готов: он на экране «Мой ключ».
order-over =
    🧾 <b>Заказ { $number }</b> закрыт: время на оплату вышло или он заменён другим.
order-over-access = Если вы успели его оплатить, деньги не пропадут: доступ включится по цене заказа.
order-over-top-up = Если вы успели его оплатить, деньги не пропадут: они появятся на балансе.
order-what = { $tariff }, { $period }
order-what-top-up = Пополнение баланса на { $amount }
order-paid-top-up =
    ✅ <b>Заказ { $number } оплачен</b>

    { $what }
    На балансе: <b>{ $balance }</b>
invoice = Atlas: { $what }
toast-stale = Эта кнопка устарела, вот как обстоят дела сейчас.
toast-balance-low = На балансе не хватает денег
toast-price-changed = Цена изменилась, проверьте заказ.
toast-terms-changed = Условия изменились: /terms. Проверьте заказ.
toast-unpaid = Оплата пока не пришла
toast-paid = Оплачено ✅
toast-not-yours = Такого заказа у вас нет
toast-preparing = Счёт готовится
toast-provider-down = { $method }: нет ответа, попробуйте через минуту
toast-no-orders = Заказы сейчас не принимаются
toast-pending = Ключ ещё готовится

## Профиль и ключ
profile =
    👤 <b>{ $name }</b>
    ID: <code>{ $id }</code>
profile-balance = Баланс: <b>{ $balance }</b>
access-active =
    Тариф: <b>{ $tariff }</b> ({ $devices })
    Доступ до: <b>{ $until }</b>
access-trial =
    Бесплатный период: { $devices }, { $traffic }
    Доступ до: <b>{ $until }</b>
access-pending = 🔧 Ключ готовится и придёт сюда сам.
access-ended = Доступ закончился <b>{ $until }</b>.
access-none = Доступа пока нет.
key =
    🔑 <b>Ваш ключ</b>

    <code>{ $link }</code>

    Нажмите на ключ, чтобы скопировать, и вставьте его в приложение. Действует до <b>{ $until }</b>.
key-pending =
    🔧 <b>Ключ готовится</b>

    Доступ включён до <b>{ $until }</b>. Ключ придёт сюда сам, как только сервер его примет; обычно это секунды.
key-none = Ключа нет: доступ не куплен или закончился.
qr-caption = Отсканируйте код в приложении: «+» → «Сканировать QR-код».

## Инструкции
instruction-choose = 📖 <b>Как подключиться</b>

    На чём будете пользоваться?
instruction =
    📖 <b>{ $platform }</b>

    1. Установите приложение <b>{ $app }</b>.
    2. Откройте здесь экран «Мой ключ» и скопируйте ключ.
    3. { $add }
    4. { $connect }

    Один ключ подходит для стольких устройств, сколько даёт тариф.
instruction-add-happ = В приложении нажмите «+» и выберите «Из буфера обмена».
instruction-add-hiddify = В приложении нажмите «Новый профиль» и выберите «Добавить из буфера обмена».
instruction-connect-phone = Нажмите большую кнопку и разрешите добавить VPN-конфигурацию.
instruction-connect-desktop = Нажмите большую кнопку подключения.

## Справка
help =
    ℹ️ <b>Помощь</b>

    /start — главное меню
    /buy — купить или продлить доступ
    /profile — что у меня есть
    /instruction — как подключиться
    /language — язык
    /paysupport — вопросы по оплате
    /terms — условия
    /privacy — какие данные хранятся
    /help — этот список
support = 💬 <b>Поддержка</b>

    Опишите, что случилось, и на каком устройстве. Если вопрос об оплате, назовите номер заказа.
support-no-address = 💬 Напишите тому, от кого вы получили ссылку на этого бота: он за него отвечает.
terms =
    📄 <b>Условия</b>

    1. Вы покупаете доступ к VPN на выбранный срок. Он начинается сразу после оплаты.
    2. Ключ — для вас: число устройств одновременно указано в тарифе.
    3. Нельзя рассылать спам, атаковать чужие системы и нарушать закон.
    4. Если доступ не работает по нашей вине, мы чиним его, продлеваем срок или возвращаем деньги: /paysupport
    5. Перед первой оплатой вы принимаете эти условия кнопкой оплаты. Когда они меняются, мы спрашиваем снова.

    Редакция { $version }
privacy =
    🔒 <b>Данные</b>

    Хранятся: ваш Telegram ID, имя и имя пользователя, язык, заказы и платежи, срок доступа.
    Не хранятся: сайты, которые вы посещаете, и содержимое трафика.

    Чтобы удалить свои данные, напишите в поддержку: /help

    Редакция { $version }
data-question = Можно хранить эти данные? Без них бот не работает.
data-refused =
    Хорошо. Мы ничего о вас не сохранили, кроме самого отказа.

    Передумаете — нажмите кнопку или отправьте /start.
data-refused-customer =
    Отказ записан. Всё, что вы оплатили, действует как прежде: без этих данных его не дать.

    Чтобы удалить свои данные, напишите в поддержку: /help
paysupport =
    💳 <b>Вопросы по оплате</b>

    Деньги ушли, а доступа нет? Обычно подтверждение приходит за минуту; доступ включится сам, даже если счёт уже закрыт.

    Если прошло больше 10 минут, напишите нам и назовите номер заказа. Про возврат — туда же.

charges = <b>Последние платежи</b>
charge = { $when } · <b>{ $amount }</b> · { $what } — { $state }
charge-paid = оплачен ✅
charge-waiting = ⏳ деньги у нас, но не подошли ни к одному неоплаченному заказу; их разберёт человек
charge-credited = зачислен на баланс
charge-refunded = возвращён
charge-to-balance = возвращён на баланс
charge-partly-back = часть возвращена
charge-charged-back = отозван через банк или платёжную систему
charge-asked-back = возвращается: провайдера попросили вернуть деньги
charge-without-order = без заказа
order-number = заказ { $number }

## Баланс
moves = 📜 <b>История баланса</b>
moves-none = 📜 На балансе ещё ничего не происходило.
move = { $when } · <b>{ $amount }</b> · { $what }
move-top-up = пополнение
move-rest = пришло больше цены
move-duplicate = ещё один платёж за уже оплаченное
move-payment = ваш платёж
move-refund = возврат
move-refund-taken = возврат пополнения
move-chargeback = платёж отозван через банк или платёжную систему
move-sale = покупка доступа
move-gift = подарок
move-gift-returned = подарок вернулся
move-reward = вознаграждение
move-reward-back = вознаграждение отменено
move-withdrawal = вывод
move-withdrawal-back = вывод вернулся
move-operator-credit = зачислено сотрудником
move-operator-debit = списано сотрудником
move-other = исправление
balance = 💰 На балансе: <b>{ $balance }</b>
balance-earned = Из них заработано: { $amount }
balance-top-up = С баланса можно купить доступ в одно касание. На сколько пополнить?
top-up-ask = Напишите сумму в рублях, от { $least } до { $most }: например, 500 или 499,50.
top-up-refused-not-a-number = ⚠️ Это не похоже на сумму: нужно одно число, без действий и слов.
top-up-refused-other-digits = ⚠️ Напишите сумму обычными цифрами: 0–9.
top-up-refused-other-currency = ⚠️ Пополнить можно только в рублях.
top-up-refused-below-zero = ⚠️ Сумма не может быть отрицательной.
top-up-refused-zero = ⚠️ Сумма должна быть больше нуля.
top-up-refused-too-fine = ⚠️ Копеек — не больше двух цифр после запятой.
top-up-refused-too-little = ⚠️ Это меньше, чем можно.
top-up-refused-too-much = ⚠️ Это больше, чем можно.
top-up-confirm = <b>Пополнение баланса на { $amount }</b>

## Автопродление
auto-renewal-off =
    ♻️ <b>Автопродление</b>

    Сейчас выключено. Если включить:
auto-renewal-on =
    ♻️ <b>Автопродление</b>

    Включено:
auto-renewal-terms =
    Что: <b>{ $what }</b>
    Сколько: <b>{ $price }</b>, с вашего баланса
    Когда: <b>{ $charged_from }</b>, незадолго до конца доступа ({ $until })

    Ключ останется прежним. Промокоды здесь не действуют. Если цена вырастет, мы не спишем новую, пока не предупредим за { $notice }. Выключить можно в любой момент.
auto-renewal-balance = На балансе: <b>{ $balance }</b>
auto-renewal-missing = Не хватает { $missing }: если пополнить баланс до конца доступа, он продлится сам.
auto-renewal-price = ⚠️ Цена выросла. По цене { $price } доступ продлится, только если вы согласитесь.
auto-renewal-not-sold = ♻️ { $what }: больше не продаётся, поэтому само не продлится. Доступ действует до <b>{ $until }</b>; потом можно выбрать другой тариф или срок.
auto-renewal-nothing = ♻️ Автопродление повторяет последнюю покупку, пока действует доступ. Сейчас повторять нечего.
toast-auto-renewal-on = Автопродление включено
toast-auto-renewal-off = Автопродление выключено

## Сообщения
message-receipt-by-itself = ♻️ Это автопродление: деньги списаны с вашего баланса. Выключить его можно в профиле.
message-renewal-announced =
    ♻️ <b>Цена автопродления изменится</b>

    { $tariff }, { $period }: было { $known }, будет <b>{ $price }</b>.
    Спишем с баланса не раньше { $charged_from }. Если не подходит, выключите автопродление: доступ закончится { $until }.
message-renewal-low =
    ♻️ <b>Для автопродления не хватает денег</b>

    { $tariff }, { $period }: { $price }. На балансе не хватает <b>{ $missing }</b>.
    Пополните баланс до { $until }, и доступ продлится сам.
message-renewal-price =
    ♻️ <b>Автопродление ждёт вашего согласия</b>

    { $tariff }, { $period }: цена теперь <b>{ $price }</b>, и предупредить заранее мы не успели. Без вашего согласия мы её не спишем, и доступ закончится { $until }.
message-renewal-not-sold =
    ♻️ <b>Автопродление не сработает</b>

    То, что вы покупали, больше не продаётся. Доступ закончится { $until }; выберите другой тариф или срок.
message-renewal-closed =
    ♻️ <b>Автопродление пока не сработало</b>

    Оплата сейчас не принимается. Если она не откроется раньше, доступ закончится { $until }; деньги остаются на балансе.
message-receipt =
    ✅ <b>Оплата получена</b>

    Заказ { $number }: { $tariff }, { $period } — { $price }
    Доступ до: <b>{ $until }</b>
message-receipt-rest = Пришло больше цены: { $amount } зачислено на ваш баланс.
message-credited = 💰 Пришёл ещё один ваш платёж за уже оплаченное: { $amount } зачислено на ваш баланс.
message-refund-provider = ↩️ Вам возвращено { $amount } тем же способом, которым вы платили.
message-refund-balance = ↩️ Вам возвращено { $amount }: деньги на вашем балансе.
message-refund-bank = ↩️ Вам возвращено { $amount } переводом.
message-refund-order = Это возврат за заказ { $number }.
message-refund-until = Доступ, оплаченный этим заказом, снят. Теперь доступ действует до <b>{ $until }</b>.
message-receipt-top-up =
    ✅ <b>Оплата получена</b>

    Заказ { $number }: пополнение баланса — { $price }
    Зачислено на баланс: <b>{ $amount }</b>
message-receipt-renewed = Ключ прежний, ничего менять не нужно.
message-receipt-pending = 🔧 Ключ готовится и придёт сюда сам, ничего делать не нужно.
message-key =
    🔑 <b>Ключ готов</b>

    <code>{ $link }</code>

    Нажмите на ключ, чтобы скопировать, и вставьте его в приложение. Действует до <b>{ $until }</b>.
message-expired = ⌛️ Доступ закончился. Продлите его, и придёт новый ключ.
message-expired-trial = ⌛️ Бесплатный период закончился. Понравилось? Доступ можно купить за минуту.

message-reminder = ⏳ Доступ закончится через { $left }: <b>{ $until }</b>. Продлите его сейчас: ключ останется прежним, оставшееся время сохранится.
message-trial-tip = 👋 Получилось подключиться? Бесплатный период идёт ещё { $left }, до <b>{ $until }</b>. Если что-то не вышло, откройте инструкцию: подключение займёт пару минут.
message-trial-offer = 🎁 Бесплатный период закончится через { $left }: <b>{ $until }</b>. Купите доступ заранее: ключ останется прежним, оставшееся время сохранится.
message-trial-last = ⏰ Последние часы: бесплатный период закончится через { $left }, <b>{ $until }</b>. Купите доступ, чтобы не остаться без него: ключ останется прежним.

## Новый ключ, заморозка, блокировка
banned =
    ⛔️ <b>Аккаунт заблокирован</b>

    Причина: { $reason }

    Доступ закончен, заказы не принимаются, баланс не двигается. Если это ошибка, напишите в поддержку.
access-frozen =
    ❄️ Доступ заморожен до <b>{ $frozen }</b>, потом он включится сам.
    Тогда он будет действовать до <b>{ $until }</b>.
key-frozen =
    ❄️ <b>Доступ заморожен</b>

    Ключ сейчас не работает. Он включится сам <b>{ $until }</b> и останется прежним; включить его можно и раньше.
key-reissued =
    🔧 <b>Новый ключ готовится</b> и придёт сюда сам.

    Пока работает прежний:

    <code>{ $link }</code>

    Как только новый заработает на сервере, прежний там отключится.
reissue-confirm =
    🔁 <b>Новый ключ вместо прежнего?</b>

    Срок доступа не изменится. Новый ключ нужно будет добавить на всех устройствах: прежний отключится, как только новый заработает.

    Сегодня можно ещё { $left ->
        [one] { $left } раз
        [few] { $left } раза
       *[many] { $left } раз
    }.
reissue-too-often =
    Ключ можно менять { $a_day ->
        [one] { $a_day } раз
        [few] { $a_day } раза
       *[many] { $a_day } раз
    } за 24 часа. Сейчас нового не будет; если ключ попал в чужие руки, напишите в поддержку.
freeze-choose =
    ❄️ <b>Заморозить доступ</b>

    Пока он заморожен, ключ не работает, а срок не идёт: окончание сдвинется на это время. До { $most ->
        [one] { $most } дня
       *[many] { $most } дней
    }, один раз за { $every ->
        [one] { $every } день
        [few] { $every } дня
       *[many] { $every } дней
    }. На сколько дней?
freeze-confirm =
    ❄️ <b>Заморозить до { $until }?</b>

    Ключ перестанет работать сейчас и включится сам. Доступ будет действовать до <b>{ $ends }</b>. Включить его раньше можно в любой момент, а заморозить снова — не раньше чем через { $every ->
        [one] { $every } день
        [few] { $every } дня
       *[many] { $every } дней
    }.
freeze-trial = Бесплатный период заморозить нельзя: его часы идут с самого начала.
freeze-too-often = Снова заморозить доступ можно с <b>{ $when }</b>.
thaw-confirm =
    ☀️ <b>Включить доступ сейчас?</b>

    Он будет действовать до <b>{ $ends }</b>. Заморозить его снова можно будет только через { $every ->
        [one] { $every } день
        [few] { $every } дня
       *[many] { $every } дней
    } после прошлой заморозки.
buy-confirm-frozen = ❄️ Доступ заморожен до <b>{ $until }</b>: купленное время прибавится к сроку и начнёт идти после заморозки. Включить доступ раньше можно в профиле.
order-frozen = ❄️ Доступ заморожен до <b>{ $until }</b>. Время прибавлено к сроку; включить доступ раньше можно в профиле.
message-thawed =
    ☀️ <b>Заморозка закончилась</b>

    Ключ прежний, через минуту он снова заработает. Доступ до <b>{ $until }</b>.
message-revoked = ⛔️ Доступ закончен администратором. Вопросы — в поддержку.
message-unbanned = ✅ <b>Аккаунт разблокирован</b>
message-unbanned-until = Доступ снова действует до <b>{ $until }</b>; новый ключ придёт сюда сам.
finance-why-banned = Клиент этого заказа заблокирован: сначала снимите блокировку.
button-reissue = 🔁 Новый ключ
button-reissue-confirm = Да, новый ключ
button-freeze = ❄️ Заморозить
button-freeze-confirm = Да, заморозить
button-thaw = ☀️ Включить доступ
button-thaw-confirm = Да, включить

## Операторам: клиенты
button-customers = 🔎 Клиенты
button-customers-card = 👤 Клиент { $number }
button-customers-history = 🕘 История
button-customers-grant = ➕ Выдать доступ
button-customers-reissue = 🔁 Новый ключ
button-customers-freeze = ❄️ Заморозить
button-customers-thaw = ☀️ Разморозить
button-customers-revoke = ⛔️ Закончить доступ
button-customers-ban = 🚫 Заблокировать
button-customers-unban = ✅ Разблокировать
customers-ask =
    🔎 <b>Клиенты</b>

    Кого найти? Номер в Telegram, номер клиента или заказа, @имя, id покупки или платежа.
customers-not-found = Никого не нашлось.
customers-several = Подходят несколько:
customers-who =
    👤 <b>{ $name }</b> { $username }
    Telegram <code>{ $id }</code>, клиент { $number }
customers-no-access = Доступа не было.
customers-access-active = Доступ: { $tariff }, до { $until }
customers-access-frozen = Доступ заморожен: { $tariff }, до { $until }
customers-access-expired = Доступ закончился: { $tariff }, { $until }
customers-frozen-until = Заморозка до { $until }
customers-banned = 🚫 Заблокирован { $when }, оператор { $number }: { $reason }
customers-history = 🕘 <b>История клиента { $number }</b>
customers-history-none = 🕘 Истории у клиента { $number } нет.
customers-history-line = { $when } · { $what }, { $tariff }: { $before } → { $after } ({ $about })
customers-by-operator = оператор { $number }
customers-by-payment = платёж { $number }
customers-by-itself = само или клиент
customers-event-granted = выдан
customers-event-extended = продлён
customers-event-activated = ключ на сервере
customers-event-expired = закончился
customers-event-reissued = новый ключ
customers-event-frozen = заморожен
customers-event-thawed = разморожен
customers-event-revoked = отозван
customers-event-renewed = продлён автоматически
customers-event-converted = пересчитан
customers-event-refunded = убран возвратом
customers-event-restored = вернулся после блокировки
customers-ask-tariff = Какой тариф?
customers-ask-days = На сколько дней? Выберите или напишите число.
customers-ask-reason = Почему? Напишите причину: она останется в журнале, а причину блокировки увидит и клиент.
customers-days-refused = ⚠️ Нужно целое число дней, от 1 до { $most }.
customers-before = <b>Сейчас</b>
customers-after = <b>Станет</b>
customers-will-be-banned = Клиент будет заблокирован: ни доступа, ни заказов.
customers-will-be-unbanned = Блокировка будет снята.
customers-new-key = Ключ будет новый; прежний работает на каждом сервере, пока там не заработает новый.
customers-reason-seen = Причина, её увидит клиент: { $reason }
customers-title-grant = ➕ <b>Выдать доступ клиенту { $number }</b>
customers-title-reissue = 🔁 <b>Новый ключ клиенту { $number }</b>
customers-title-freeze = ❄️ <b>Заморозить доступ клиента { $number }</b>
customers-title-thaw = ☀️ <b>Разморозить доступ клиента { $number }</b>
customers-title-revoke = ⛔️ <b>Закончить доступ клиента { $number }</b>
customers-title-ban = 🚫 <b>Заблокировать клиента { $number }</b>
customers-title-unban = ✅ <b>Разблокировать клиента { $number }</b>
customers-why-no-access = доступа нет
customers-why-frozen = доступ уже заморожен
customers-why-not-frozen = доступ не заморожен
customers-why-trial = бесплатный период не замораживается
customers-why-days = столько дней нельзя
customers-why-banned = клиент заблокирован
customers-why-not-banned = клиент не заблокирован
customers-why-not-allowed = вашей роли это не разрешено
customers-why-no-account = такого клиента нет

## Операторам: деньги
button-finance = 🏦 Деньги
button-finance-waiting = ⏳ Ждут разбора
button-finance-books = 📚 Книги
button-finance-month = 📅 Месяц
button-finance-differences = ⚖️ Сверка с провайдерами
button-finance-more = ⬇️ Дальше
button-finance-paid-out = 🏛 Вывод пришёл на банковский счёт
button-finance-owners = 👤 Владелец потратил сам
button-finance-payment = Платёж { $number }
button-finance-refund = ↩️ Вернуть деньги
button-finance-ask-back = ↩️ Попросить провайдера вернуть
button-finance-taken = ⚠️ Провайдер сам забрал деньги
button-finance-as-charge = ↩️ Провести как возврат всего платежа
button-finance-route-provider = ↩️ Провайдер вернёт плательщику
button-finance-route-wallet = 💰 На баланс, откуда заплачено
button-finance-route-balance = 💰 На баланс клиента
button-finance-route-bank = 🏛 С банковского счёта, вручную
button-finance-access-keep = Доступ оставить
button-finance-access-take = Оставшийся доступ снять
button-finance-search = 🔎 Найти клиента
button-finance-event = Событие { $number }
button-finance-customer = Клиент { $number }
button-finance-assign = 🧾 К заказу…
button-finance-assign-to = 🧾 К заказу { $number }
button-finance-credit = 💰 На баланс клиента…
button-finance-credit-to = 💰 На баланс клиента { $number }
button-finance-given-back = ↩️ Вернул провайдер
button-finance-paid-back = 🏛 Вернули сами
button-finance-note = 🗒 Денег не было
button-finance-give = ➕ Зачислить
button-finance-take = ➖ Списать
button-finance-no-fee = Без комиссии
button-finance-confirm = ✅ Подтвердить
button-finance-cancel = ✖️ Отменить
toast-finance-role = Вашей роли это не разрешено.
toast-finance-changed = Пока вы смотрели, всё изменилось. Проверьте ещё раз.
finance = 🏦 <b>Деньги</b>
finance-waits = Ждут разбора: { $unmatched }; повторные платежи: { $duplicate }.
finance-nothing = Для вашей роли здесь ничего нет.
finance-waiting = ⏳ <b>Ждут разбора</b>
finance-waiting-none = ✅ Ничего не ждёт разбора.
finance-waiting-line = { $number } · { $when } · <b>{ $amount }</b> · { $provider } · { $status }
finance-event = <b>Событие { $number }</b>, { $provider }
    <code>{ $charge }</code>
finance-event-when = Пришло: { $when }
finance-event-state = Состояние: <b>{ $state }</b>
finance-event-said = Провайдер назвал: <b>{ $amount }</b>
finance-event-lies = На счёте suspense: <b>{ $amount }</b>
finance-event-fee = Комиссия провайдера: { $amount }
finance-event-why = Причина: { $why }
finance-event-payer = Платил Telegram ID <code>{ $number }</code>
finance-event-number = событие { $number }
finance-event-new = ещё не обработано
finance-event-settled = оплачен заказ
finance-event-duplicate = повторный платёж
finance-event-unmatched = ни к чему не подошло
finance-event-no-money = без денег
finance-event-assigned = отнесено к заказу
finance-event-credited = зачислено на баланс
finance-event-moved = перемещено владельцем
finance-event-refunded = возвращено
finance-order = заказ { $number }: { $what }, { $price }, { $status }
finance-order-open = ждёт оплаты
finance-order-paid = оплачен
finance-order-expired = истёк
finance-order-replaced = заменён
finance-orders = <b>Последние заказы</b>
finance-charge = { $number } · { $when } · <b>{ $amount }</b> · { $provider } <code>{ $charge }</code>: { $state }
finance-customer = <b>Клиент { $number }</b>: { $name }, { $username }, <code>{ $id }</code>
finance-wallets = Баланс: пополнено <b>{ $topped_up }</b>, заработано <b>{ $earned }</b>
finance-access = Доступ до: { $until }
finance-balance-of = баланс клиента { $number }
finance-search = 🔎 Кого найти? Telegram ID, номер клиента или заказа, @имя, номер покупки, платежа или счёта.
finance-not-found = Ничего не найдено.
finance-several = Подходят несколько:
finance-no-order = ⚠️ Такого заказа нет: нужен номер, как его видит клиент.
finance-title-assign = 🧾 <b>Событие { $number }: отнести к заказу</b>
finance-title-credit = 💰 <b>Событие { $number }: на баланс клиента</b>
finance-title-given-back = ↩️ <b>Событие { $number }: провайдер вернул деньги</b>
finance-title-paid-back = 🏛 <b>Событие { $number }: деньги возвращены с банковского счёта</b>
finance-title-note = 🗒 <b>Событие { $number }: денег не было</b>
finance-title-give = ➕ <b>Зачислить клиенту { $number }</b>
finance-title-take = ➖ <b>Списать у клиента { $number }</b>
finance-ask-order = Номер заказа?
finance-ask-account = Чей баланс? Telegram ID, номер клиента или заказа, @имя.
finance-ask-worth = Во что оценить эти деньги? Сумма в { $currency }.
finance-ask-amount = Сколько? Сумма в { $currency }.
finance-ask-paid = Сколько прошло по банковскому счёту? Сумма в { $currency }.
finance-ask-fee = Сколько сверх того взял банк? Сумма в { $currency }.
finance-ask-reason = Почему? Эти слова останутся в книгах и в журнале.
finance-reason = Причина: { $reason }
finance-reason-refused = ⚠️ Причина — от { $least } до { $most } знаков, обычным текстом.
finance-amount-not-a-number = ⚠️ Это не сумма: нужно одно число, без действий и слов.
finance-amount-other-digits = ⚠️ Напишите сумму обычными цифрами: 0–9.
finance-amount-other-currency = ⚠️ Здесь сумма только в { $currency }.
finance-amount-below-zero = ⚠️ Сумма не может быть отрицательной: для списания есть своя кнопка.
finance-amount-zero = ⚠️ Сумма должна быть больше нуля.
finance-amount-too-fine = ⚠️ Слишком много цифр после запятой для { $currency }.
finance-amount-too-much = ⚠️ Столько за один раз нельзя.
finance-would-be = <b>Станет так:</b>
finance-change = { $what }: { $before } → <b>{ $after }</b>
finance-done = ✅ <b>Сделано</b>
finance-refused = ⛔️ <b>Нельзя, ничего не изменено:</b>
    { $why }
finance-why-not-allowed = Вашей роли это не разрешено.
finance-why-no-event = Такого события нет.
finance-why-ended = Это событие уже разобрано.
finance-why-nothing-lies = На счёте suspense этих денег нет.
finance-why-has-money = С этим событием пришли деньги: его закрывают тем, куда они ушли.
finance-why-duplicate = Это повторный платёж за оплаченный заказ: его зачисляют на баланс или возвращают.
finance-why-no-order = Такого заказа нет.
finance-why-order-paid = Этот заказ уже оплачен.
finance-why-not-sold = То, что в этом заказе, сейчас не продаётся.
finance-why-beyond = Сверх цены получается больше, чем пришло.
finance-why-no-account = Такого клиента нет.
finance-why-no-amount = Сумма должна быть больше нуля.
finance-why-all-or-nothing = Возвращается вся сумма или ничего.
finance-why-worth = Так оценить эти деньги нельзя: они пришли в этой же валюте или провайдер назвал их сумму.
finance-why-spent = Эти деньги уже потрачены с баланса: вернуть их нельзя.
finance-why-no-payment = Такого платежа нет.
finance-why-went-back = Эти деньги уже вернули.
finance-why-part-went-back = Часть вернул провайдер: остальное возвращают там же.
finance-why-under-way = Возврат уже идёт: дождитесь его конца.
finance-why-out-of-suspense = Эти деньги вернули со счёта suspense.
finance-why-nothing-paid = За это ничего не платили.
finance-why-not-in-books = Того, что пришло за это, нет в книгах.
finance-why-not-that-way = Так вернуть нельзя: способы показаны в карточке.
finance-why-provider-cant = Этот провайдер денег не возвращает: верните на баланс или вручную.
finance-why-fee-currency = Комиссия — в валюте того, что заплачено.
finance-why-fee-beyond = Комиссия больше того, что заплачено: столько банк не берёт.
finance-why-booked = Списание провайдера уже в книгах.
finance-why-by-hand = Это вернули вручную: что спишет провайдер, попадёт в книги из его списка.
finance-why-too-low = На балансе столько нет.
finance-nowhere = Это действие уже не начато. Вот откуда можно начать.
finance-books = 📚 <b>Оборотный баланс</b>: дебет минус кредит
finance-books-none = 📚 В книгах ещё ничего нет.
finance-books-sum = ✅ { $currency }: дебет { $debit } = кредит { $credit }
finance-books-differ = ⛔️ { $currency }: дебет { $debit } ≠ кредит { $credit }
finance-month = 📅 <b>{ $month }</b>, { $state }
finance-month-closed = закрыт
finance-month-open = пока что
finance-month-sales = <b>Продано по прейскуранту</b>
finance-month-sale = { $method } · { $tariff }: { $amount } ({ $count })
finance-month-others = <b>Недополучено и потрачено</b>
finance-month-other = <code>{ $code }</code> { $amount }
finance-month-accounts = <b>Счета до → после</b>: дебет минус кредит
finance-month-account = <code>{ $code }</code> { $opening } → { $closing }
finance-month-more = …и ещё строк: { $count }. Все: make books MONTH={ $month }
finance-month-none = В книгах за этот месяц ничего нет.
finance-month-suspense = ⏳ Деньги, которые ни к чему не подошли, ждут с { $when }.
finance-statement = 📖 <b>{ $code }</b>, { $currency }: плюс — дебет, минус — кредит
finance-line = { $when } · <b>{ $amount }</b> · { $others } · { $about }
finance-differences = ⚖️ <b>Расхождения с провайдерами</b>
finance-differences-none = ✅ Расхождений с провайдерами нет.
finance-difference = <b>{ $provider }</b> · { $what }: { $state }
    провайдер: <b>{ $said }</b>, книги: <b>{ $booked }</b>, замечено { $when }
finance-difference-missing-here = нет в книгах
finance-difference-missing-there = нет у провайдера
finance-difference-differs = суммы разные
finance-difference-balance = остаток не тот
finance-compared = { $provider }: сверено { $when }, строк { $lines }, совпало { $matched }
finance-compared-never = Сверок ещё не было.
finance-event-left = Со счёта провайдера ушло: <b>{ $amount }</b>
finance-title-paid-out = 🏛 <b>Событие { $number }: вывод пришёл на банковский счёт</b>
finance-title-owners = 👤 <b>Событие { $number }: владелец потратил сам</b>
finance-why-nothing-left = Это событие не говорит, что провайдер что-то списал.
finance-payment-number = платёж { $number }
finance-access-of = доступ клиента { $number }
finance-event-asked-back = провайдера попросили вернуть
finance-booked = <b>Проводки</b>
finance-pick = ⚠️ Выберите кнопкой.
finance-title-refund = ↩️ <b>Платёж { $number }: вернуть деньги</b>
finance-title-ask-back = ↩️ <b>Событие { $number }: попросить провайдера вернуть деньги</b>
finance-title-as-charge = ↩️ <b>Событие { $number }: платёж вернулся целиком</b>
finance-title-taken = ⚠️ <b>Событие { $number }: провайдер сам забрал деньги (chargeback)</b>
finance-ask-route = Как вернуть? Возвращается всё, что заплачено.
finance-ask-access = Что станет с доступом, за который заплачено?
finance-by = оператор { $number }

# Работа магазина, для операторов

button-operations = ⚙️ Работа
button-operations-pending = ⏳ Ключи
button-operations-nodes = 🖥 Узлы
button-operations-node = 🖥 К узлу
button-operations-sweeps = 🔁 Обходы
button-operations-flags = 🎚 Рубильники
button-operations-updates = 📨 Обновления
button-operations-update = Обновление { $number }
button-operations-gone = 🗑 Оставленные
button-operations-events = 💳 События
button-operations-messages = 💬 Сообщения
button-operations-message = Сообщение { $number }
button-operations-refunds = ↩️ Возвраты
button-operations-refresh = 🔄 Обновить
button-operations-at-the-desk = 🏦 Это событие в разделе денег
button-operations-sweep = ▶️ Запустить сейчас
button-operations-probe = 🔌 Спросить узел сейчас
button-operations-drain = 🚰 Освободить от клиентов…
button-operations-undrain = ↩️ Снова принимать клиентов…
button-operations-on = 🟢 Включить
button-operations-off = ⏸ Выключить
button-operations-on-of = 🟢 Включить { $name }
button-operations-off-of = ⏸ Выключить { $name }
button-operations-update-again = 🔁 Обработать ещё раз
button-operations-update-give-up = 🗑 Оставить без ответа…
button-operations-event-again = 🔁 Провести ещё раз
button-operations-event-aside = 📥 Отложить деньги на разбор…
button-operations-message-again = 🔁 Отправить ещё раз (может прийти дважды)
operations = ⚙️ <b>Работа магазина</b>
operations-pending = ⏳ Ключи не включены: <b>{ $count }</b>, дольше всех { $age }
operations-nodes = 🖥 Узлов: <b>{ $count }</b>, с неполадками { $troubled }
operations-sweeps = 🔁 Обходов: <b>{ $count }</b>, не в порядке: { $unwell }
operations-off-now = 🎚 Выключено: { $names }
operations-updates = 📨 Обновления ждут: <b>{ $count }</b>, { $age }; оставлено: { $gone }
operations-events = 💳 Платежи не проведены: <b>{ $count }</b>, { $age }; на разборе: { $unmatched }
operations-messages = 💬 Сообщения: неясно <b>{ $unclear }</b>, отказано { $failed }, не достать { $unreachable }
operations-refunds = ↩️ Возвраты у провайдеров: <b>{ $count }</b>, { $age }
operations-queues = 📦 <b>Очереди: сделать осталось</b>
operations-queues-none = 📦 Очереди пусты.
operations-queue = { $name }: <b>{ $count }</b>, старшее { $age }
operations-age-s = { $number } с
operations-age-m = { $number } мин
operations-age-h = { $number } ч
operations-age-d = { $number } дн.
operations-pending-list = ⏳ <b>Оплачено или выдано, но ещё не включено</b>
operations-pending-none = ✅ Все ключи включены.
operations-pending-line = Клиент { $number } · { $tariff } · с { $when } (<b>{ $age }</b>)
operations-node-said = { $name }: { $what } · попыток { $count } · следующая через { $age }
operations-not-asked = ещё не ответил
operations-node-list = 🖥 <b>Узлы</b>
operations-node-none = Узлов нет.
operations-node-line = <b>{ $name }</b> · { $state } · ждут подтверждения: { $count }
operations-node-active = работает
operations-node-draining = освобождается
operations-node-retired = выведен
operations-node-clients = Клиентов должно быть: { $count }
operations-node-clock = Часы: { $seconds } с
operations-node-failures = Неудач подряд: { $count }; при сверке: { $reconcile }
operations-node-lost = ⛔️ Не отвечает с { $when }
operations-node-open = 🔌 Не спрашиваем до { $when } (ещё { $age })
operations-node-probe-due = 🔌 Не отвечает; пора послать одну пробу
operations-node-reconcile-open = 🔌 Сверка его не спрашивает ещё { $age }
operations-node-clock-off = 🕑 Часы ушли: { $seconds } с
operations-trouble-authentication = 🔑 Узел не принимает наш ключ
operations-trouble-configuration = 🛠 Настройка узла не годится
operations-trouble-answer = ❓ Узел отвечает не так, как должен
operations-trouble-certificate = 📜 Сертификат узла — не тот, что записан
operations-state-of = узел { $name }
operations-breaker-of = запросы к узлу { $name }
operations-breaker-open = остановлены
operations-breaker-probe = одна проба
operations-sweep-list = 🔁 <b>Обходы</b>: последний запуск, итог, когда удался
operations-sweep-line = { $sign } <code>{ $name }</code> · { $age } · { $outcome } · { $good }
operations-outcome-done = удался
operations-outcome-failed = не удался
operations-outcome-timed-out = не хватило времени
operations-sweep = 🔁 <b>{ $name }</b>: { $state }
operations-run = { $when } · { $outcome } · взято { $claimed }, сделано { $done }, не вышло { $failed } · { $seconds } с { $error }
operations-on = включено
operations-off = выключено
operations-flags = 🎚 <b>Рубильники</b>
operations-flag-line = <code>{ $name }</code>: <b>{ $state }</b>, переключён: { $when }
operations-update-list = 📨 <b>Обновления, которые ещё не обработаны</b>
operations-update-none = ✅ Все обновления обработаны.
operations-gone-list = 🗑 <b>Оставленные без ответа</b>
operations-gone-none = ✅ Оставленных обновлений нет.
operations-update-line = { $number } · { $kind } · { $when } ({ $age }) · попыток { $count } · { $error }
operations-update-number = обновление { $number }
operations-update-waiting = ждёт
operations-update-given-up = оставлено без ответа
operations-update-done = обработано
operations-event-list = 💳 <b>Платежи, которые не удаётся провести</b>
operations-event-none = ✅ Все платежи проведены.
operations-event-line = { $number } · { $provider } · { $kind } · { $when } ({ $age })
operations-suspense = на счёте suspense
operations-message-list = 💬 <b>Сообщения, которые не дошли или могли не дойти</b>
operations-message-none = ✅ Таких сообщений нет.
operations-message-line = { $number } · { $kind } · клиент { $account } · { $when } · <b>{ $state }</b>
operations-message-why = Попыток { $count }: { $error }
operations-message-number = сообщение { $number }
operations-message-queued = ждёт отправки
operations-message-sent = отправлено
operations-message-unclear = неясно, дошло ли
operations-message-failed = отказано
operations-message-unreachable = клиент недоступен
operations-message-cancelled = больше не нужно
operations-refund-list = ↩️ <b>Возвраты, которых ждём от провайдеров</b>
operations-refund-none = ✅ Возвратов в пути нет.
operations-refund-line = Событие { $number } · { $provider } · { $state } · { $age } · попыток { $count } · { $answer }
operations-refund-requested = ещё не попросили
operations-refund-sent = попросили, ответа нет
operations-ask-reason = Почему? Эти слова останутся в журнале.
operations-title-sweep = ▶️ <b>Обход { $number }: запустить сейчас</b>
operations-title-probe = 🔌 <b>Узел { $number }: спросить сейчас</b>
operations-title-drain = 🚰 <b>Узел { $number }: освободить от клиентов</b>
operations-title-undrain = ↩️ <b>Узел { $number }: снова принимать клиентов</b>
operations-title-on = 🟢 <b>{ $number }: включить</b>
operations-title-off = ⏸ <b>{ $number }: выключить</b>
operations-title-update-again = 🔁 <b>Обновление { $number }: обработать ещё раз</b>
operations-title-update-give-up = 🗑 <b>Обновление { $number }: оставить без ответа</b>
operations-title-event-again = 🔁 <b>Событие { $number }: провести ещё раз</b>
operations-title-event-aside = 📥 <b>Событие { $number }: отложить деньги на разбор</b>
operations-title-message-again = 🔁 <b>Сообщение { $number }: отправить ещё раз</b>
operations-means-sweep = Обход запустится вне очереди. Если он уже идёт, второго не будет.
operations-means-probe = Узел получит одну пробу. Ответит — запросы пойдут снова, нет — остановятся опять.
operations-means-drain = Новых клиентов узел не получит. Те, что есть, уйдут с него постепенно, каждый — когда его уже пускает другой узел: это может занять минуты, и доступ не пропадёт ни у кого.
operations-means-undrain = Узел снова получает новых клиентов, а те, кого с него сняли, вернутся постепенно. Ключи у них те же.
operations-means-on = Путь откроется сразу.
operations-means-off = Путь закроется сразу, для всего магазина.
operations-means-update-again = Клиент получит ответ сейчас. Если прошли часы, он может удивиться.
operations-means-update-give-up = Клиент ответа не получит. Пока обновление хранится, его можно обработать снова.
operations-means-event-again = Проведение повторится сразу. Деньги учтутся один раз, сколько бы раз ни повторять.
operations-means-event-aside = Деньги лягут на счёт suspense. Оттуда их относят к заказу, зачисляют или возвращают.
operations-means-message-again = Сообщение уйдёт ещё раз: если первое дошло, клиент получит два.
operations-why-not-allowed = Вашей роли это не разрешено.
operations-why-missing = Такого здесь нет.
operations-why-busy = Прямо сейчас это уже выполняется. Посмотрите через минуту.
operations-why-had-effect = Это обновление уже обработано.
operations-why-given-up = Это обновление уже оставлено без ответа.
operations-why-tells-of-money = В этом обновлении платёж: его нельзя оставить, пока он не учтён.
operations-why-settled = Это событие уже проведено или отложено.
operations-why-no-amount = Из этого события не прочесть, сколько пришло: отложить нечего.
operations-why-not-listed = Это сообщение не из тех, что отправляют заново.
operations-why-once = Такие сообщения второй раз не отправляют.
operations-why-out-of-reach = Клиент недоступен: сообщение придёт само, когда он напишет боту.
operations-why-too-late = Это сообщение уже не нужно: его время прошло.
operations-why-not-open = Запросы к этому узлу не остановлены.
operations-why-retired = Этот узел выведен.
operations-why-last-node = Нет другого исправного узла, который принимает клиентов: новые остались бы без ключа.
operations-why-same = Так и стоит.
